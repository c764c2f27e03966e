/* book_tables.c: levels in price order, owners, the GTD heap, and how orders join and leave them. */

#include "book_internal.h"

/* ---- Levels: a treap finds the neighbours of a new price; from then on the linked list is enough. ---- */

static uint64_t treap_priority(const level *l)
{
    /* A bijection of the price, so that no two levels of a side tie and the shape depends on the prices alone. */
    uint64_t x = (uint64_t)l->price;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

static bool treap_before(const level *a, const level *b)
{
    return side_ascends(a->side_index & (BOOK_SIDES - 1)) ? a->price < b->price : a->price > b->price;
}

static void treap_insert(book *b, int32_t *link, int32_t index)
{
    level *l = &b->levels[index];
    const uint64_t priority = treap_priority(l);
    int32_t better = 0, worse = 0;
    while (*link && treap_priority(&b->levels[*link]) > priority) {
        level *at = &b->levels[*link];
        if (treap_before(l, at)) {
            worse = *link;
            link = &at->left;
        } else {
            better = *link;
            link = &at->right;
        }
    }
    int32_t at_index = *link;
    *link = index;
    int32_t *left = &l->left, *right = &l->right;
    while (at_index) {
        level *at = &b->levels[at_index];
        if (treap_before(l, at)) {
            worse = at_index;
            *right = at_index;
            right = &at->left;
            at_index = at->left;
        } else {
            better = at_index;
            *left = at_index;
            left = &at->right;
            at_index = at->right;
        }
    }
    *left = 0;
    *right = 0;
    l->prev = better;
    l->next = worse;
}

static void treap_erase(book *b, int32_t *link, int32_t index)
{
    const level *l = &b->levels[index];
    while (*link != index) {
        level *at = &b->levels[*link];
        link = treap_before(l, at) ? &at->left : &at->right;
    }
    int32_t left = l->left, right = l->right;
    while (left && right) {
        level *a = &b->levels[left], *c = &b->levels[right];
        if (treap_priority(a) > treap_priority(c)) {
            *link = left;
            link = &a->right;
            left = a->right;
        } else {
            *link = right;
            link = &c->left;
            right = c->left;
        }
    }
    *link = left ? left : right;
}

int32_t book_level_make(book *b, int32_t side_index, int64_t price)
{
    const int32_t index = b->free_level;
    level *l = &b->levels[index];
    symbol_book *s = &b->symbols[side_index / BOOK_SIDES];
    const int side = side_index & (BOOK_SIDES - 1);
    b->free_level = l->next;
    b->levels_used++;
    *l = (level){.price = price, .side_index = side_index};
    treap_insert(b, &s->root[side], index);
    if (l->prev)
        b->levels[l->prev].next = index;
    else
        s->best[side] = index;
    if (l->next)
        b->levels[l->next].prev = index;
    table_put(&b->level_table, hash_level(&b->level_table, side_index, price), index);
    return index;
}

void book_level_drop(book *b, int32_t index)
{
    level *l = &b->levels[index];
    symbol_book *s = &b->symbols[l->side_index / BOOK_SIDES];
    const int side = l->side_index & (BOOK_SIDES - 1);
    table_take(&b->level_table, hash_level(&b->level_table, l->side_index, l->price), index);
    treap_erase(b, &s->root[side], index);
    if (l->prev)
        b->levels[l->prev].next = l->next;
    else
        s->best[side] = l->next;
    if (l->next)
        b->levels[l->next].prev = l->prev;
    l->side_index = -1;
    l->next = b->free_level;
    b->free_level = index;
    b->levels_used--;
}

/* ---- Owners ---- */

static uint32_t owner_slot(const book *b, int64_t owner)
{
    uint32_t slot = hash_word((uint64_t)owner) & b->owner_mask;
    while (b->owner_table[slot] && b->owners[b->owner_table[slot]] != owner)
        slot = (slot + 1) & b->owner_mask;
    return slot;
}

int32_t book_owner_find(const book *b, int64_t owner)
{
    return owner ? b->owner_table[owner_slot(b, owner)] : 0;
}

int32_t book_owner_make(book *b, int64_t owner)
{
    if (!owner)
        return 0;
    const uint32_t slot = owner_slot(b, owner);
    if (b->owner_table[slot])
        return b->owner_table[slot];
    if (b->owners_used == b->config.owners_max)
        return 0;
    b->owners[++b->owners_used] = owner;
    b->owner_table[slot] = b->owners_used;
    return b->owners_used;
}

/* ---- GTD heap: the earliest expiry first, then the order of arrival ---- */

static bool timed_before(const book *b, int32_t a, int32_t c)
{
    const order_detail *x = &b->details[a], *y = &b->details[c];
    return x->expire_ts != y->expire_ts ? x->expire_ts < y->expire_ts : x->timed_sequence < y->timed_sequence;
}

static void timed_set(book *b, int64_t position, int32_t order_index)
{
    b->timed[position] = order_index;
    b->details[order_index].heap_index = position;
}

static void timed_sift(book *b, int64_t position, int32_t order_index)
{
    while (position > 0 && timed_before(b, order_index, b->timed[(position - 1) / 2])) {
        timed_set(b, position, b->timed[(position - 1) / 2]);
        position = (position - 1) / 2;
    }
    for (;;) {
        int64_t child = 2 * position + 1;
        if (child >= b->timed_used)
            break;
        if (child + 1 < b->timed_used && timed_before(b, b->timed[child + 1], b->timed[child]))
            child++;
        if (!timed_before(b, b->timed[child], order_index))
            break;
        timed_set(b, position, b->timed[child]);
        position = child;
    }
    timed_set(b, position, order_index);
}

void book_timed_add(book *b, int32_t order_index)
{
    b->details[order_index].timed_sequence = ++b->timed_sequence;
    timed_sift(b, b->timed_used++, order_index);
}

void book_timed_remove(book *b, int32_t order_index)
{
    const int64_t position = b->details[order_index].heap_index;
    const int32_t last = b->timed[--b->timed_used];
    if (last != order_index)
        timed_sift(b, position, last);
}

/* ---- Orders ---- */

/* Takes a slot and lists the id; the order is in no queue yet. One slot more than orders_max exists, for an order that is
 * being matched and will not rest. */
int32_t book_order_load(book *b, const book_order *in, int64_t price, int32_t owner_index)
{
    const int32_t index = b->free_order;
    order *o = &b->orders[index];
    b->free_order = o->next;
    b->live++;
    const bool iceberg = in->display_qty > 0 && in->display_qty < in->qty;
    const bool timed = in->time_in_force == BOOK_TIF_GTD;
    *o = (order){.id = in->order_id, .qty = in->qty, .owner = in->owner, .owner_index = owner_index, .symbol = in->symbol,
                 .side = in->side, .order_type = in->order_type, .time_in_force = in->time_in_force, .flags = in->flags};
    o->special = (uint8_t)((owner_index ? ORDER_OWNED : 0) | (iceberg ? ORDER_ICEBERG : 0) | (timed ? ORDER_TIMED : 0)
                           | (in->flags & BOOK_FLAG_REDUCE_ONLY ? ORDER_REDUCE_ONLY : 0));
    b->details[index] = (order_detail){.price = price, .trigger_price = in->trigger_price, .expire_ts = in->expire_ts,
                                       .display_qty = iceberg ? in->display_qty : 0};
    if (timed)
        book_timed_add(b, index);
    if (o->special & ORDER_REDUCE_ONLY)
        b->symbols[in->symbol].reduce_only++;
    table_put(&b->order_table, hash_id(in->order_id), index);
    return index;
}

/* Replenishments that an iceberg in a queue still makes; a parked one will. */
int64_t book_order_peaks(const book *b, int32_t index)
{
    const order *o = &b->orders[index];
    if (!(o->special & ORDER_ICEBERG))
        return 0;
    const int64_t display = b->details[index].display_qty;
    if (order_parked(b, o))
        return (o->qty - 1) / display;
    return o->hidden / display + (o->hidden % display != 0);
}

/* Joins the back of the queue at `price`; o->qty + o->hidden is what rests. On a stop side nothing is displayed or hidden yet. */
void book_order_rest(book *b, int32_t index, int side, int64_t price)
{
    order *o = &b->orders[index];
    symbol_book *s = &b->symbols[o->symbol];
    const int32_t side_index = o->symbol * BOOK_SIDES + side;
    const int64_t total = order_leaves(o);
    o->qty = total;
    o->hidden = 0;
    if (side < BOOK_STOPS && o->special & ORDER_ICEBERG && total > b->details[index].display_qty) {
        o->qty = b->details[index].display_qty;
        o->hidden = total - o->qty;
    }
    int32_t at = level_find(b, side_index, price);
    if (!at)
        at = book_level_make(b, side_index, price);
    queue_append(b, at, index, false);
    s->orders[side]++;
    s->peaks[side] += book_order_peaks(b, index);
}

/* Out of its queue, still listed by id. */
void book_order_unlink(book *b, int32_t index)
{
    order *o = &b->orders[index];
    const int32_t at = o->level;
    const int32_t side_index = b->levels[at].side_index;
    symbol_book *s = &b->symbols[o->symbol];
    s->orders[side_index & (BOOK_SIDES - 1)]--;
    s->peaks[side_index & (BOOK_SIDES - 1)] -= book_order_peaks(b, index);
    queue_remove(b, o, false);
    o->level = 0;
    if (!b->levels[at].head)
        book_level_drop(b, at);
}

/* Gives the slot back; the order is in no queue. */
void book_order_free(book *b, int32_t index)
{
    order *o = &b->orders[index];
    table_take(&b->order_table, hash_id(o->id), index);
    if (o->special & ORDER_TIMED)
        book_timed_remove(b, index);
    if (o->special & ORDER_REDUCE_ONLY)
        b->symbols[o->symbol].reduce_only--;
    o->id = 0;
    o->next = b->free_order;
    b->free_order = index;
    b->live--;
}

void book_order_shrink(book *b, int32_t index, int64_t qty)
{
    order *o = &b->orders[index];
    level *l = &b->levels[o->level];
    int64_t *peaks = &b->symbols[o->symbol].peaks[l->side_index & (BOOK_SIDES - 1)];
    const int64_t from_hidden = qty < o->hidden ? qty : o->hidden;
    *peaks -= book_order_peaks(b, index);
    o->hidden -= from_hidden;
    l->hidden -= from_hidden;
    o->qty -= qty - from_hidden;
    l->qty -= qty - from_hidden;
    *peaks += book_order_peaks(b, index);
}

/* The whole remainder leaves, with one report of `kind`. */
void book_order_leave(book *b, int32_t index, int kind, int reason, report_sink *out)
{
    const order *o = &b->orders[index];
    report_put(out, kind, reason, o->symbol, o->side, o->id, 0, order_price(b, index), order_leaves(o), 0, 0);
    b->totals.canceled++;
    if (o->level)
        book_order_unlink(b, index);
    book_order_free(b, index);
}
