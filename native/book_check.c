/* book_check.c: every invariant of a book, slowly. */

#include "book_internal.h"

#define CHECK(condition) \
    do { \
        if (!(condition)) \
            return BOOK_ERR_CORRUPT; \
    } while (0)

typedef struct {
    int64_t orders, peaks, levels, reduce_only, timed;
} tally;

static int check_order(const book *b, const symbol_book *s, int32_t index, int side, tally *seen)
{
    const order *o = &b->orders[index];
    const bool iceberg = (o->special & ORDER_ICEBERG) != 0;
    const int64_t display = iceberg ? b->details[index].display_qty : 0;
    CHECK(o->id > 0 && o->symbol == s->index && o->side == (side & 1) && order_find(b, o->id) == index);
    CHECK(o->qty > 0 && o->hidden >= 0);
    CHECK(!iceberg || display > 0);
    CHECK(o->hidden == 0 || (iceberg && o->qty <= display));
    CHECK(((o->special & ORDER_OWNED) != 0) == (o->owner_index != 0) && (o->owner != 0) == (o->owner_index != 0));
    CHECK(o->owner_index == 0 || (o->owner_index <= b->owners_used && b->owners[o->owner_index] == o->owner));
    CHECK(((o->special & ORDER_REDUCE_ONLY) != 0) == ((o->flags & BOOK_FLAG_REDUCE_ONLY) != 0));
    CHECK(((o->special & ORDER_TIMED) != 0) == (o->time_in_force == BOOK_TIF_GTD));
    CHECK(o->order_type != BOOK_TYPE_MARKET || o->time_in_force == BOOK_TIF_OPG);
    CHECK(o->time_in_force != BOOK_TIF_OPG || s->status != MD_STATUS_TRADING);
    if (side >= BOOK_STOPS) {
        CHECK(o->order_type == BOOK_TYPE_STOP || o->order_type == BOOK_TYPE_STOP_LIMIT);
        CHECK(b->details[index].trigger_price == b->levels[o->level].price);
    } else {
        CHECK(o->order_type != BOOK_TYPE_STOP);
        CHECK(o->time_in_force != BOOK_TIF_IOC && o->time_in_force != BOOK_TIF_FOK);
    }
    if (o->special & ORDER_TIMED) {
        const int64_t position = b->details[index].heap_index;
        CHECK(position >= 0 && position < b->timed_used && b->timed[position] == index);
        seen->timed++;
    }
    seen->peaks += book_order_peaks(b, index);
    seen->reduce_only += (o->special & ORDER_REDUCE_ONLY) != 0;
    seen->orders++;
    return BOOK_OK;
}

static int check_level(const book *b, const symbol_book *s, int32_t at, int side, tally *seen)
{
    const level *l = &b->levels[at];
    const int32_t side_index = s->index * BOOK_SIDES + side;
    CHECK(l->side_index == side_index && level_find(b, side_index, l->price) == at);
    CHECK(l->price >= s->rules.price_min && l->price <= s->rules.price_max && l->price % s->rules.tick == 0);
    int64_t qty = 0, hidden = 0;
    int32_t orders = 0, previous = 0;
    for (int32_t index = l->head; index; index = b->orders[index].next) {
        CHECK(index <= b->config.orders_max + 1 && b->orders[index].prev == previous && b->orders[index].level == at);
        const int code = check_order(b, s, index, side, seen);
        if (code)
            return code;
        qty += b->orders[index].qty;
        hidden += b->orders[index].hidden;
        orders++;
        previous = index;
        CHECK(orders <= b->live);
    }
    CHECK(orders > 0 && l->tail == previous && l->orders == orders && l->qty == qty && l->hidden == hidden);
    return BOOK_OK;
}

/* A search from the root finds the level. */
static bool treap_reaches(const book *b, int32_t root, int32_t wanted, bool ascends)
{
    const int64_t price = b->levels[wanted].price;
    for (int64_t steps = 0; root && steps <= b->levels_used; steps++) {
        if (root == wanted)
            return true;
        const level *l = &b->levels[root];
        root = (ascends ? price < l->price : price > l->price) ? l->left : l->right;
    }
    return false;
}

static int check_side(const book *b, const symbol_book *s, int side, tally *all)
{
    tally seen = {0};
    int32_t previous = 0;
    int64_t links = 0;
    CHECK((s->best[side] != 0) == (s->root[side] != 0));
    for (int32_t at = s->best[side]; at; at = b->levels[at].next) {
        CHECK(at <= b->config.levels_max && b->levels[at].prev == previous);
        CHECK(!previous || (side_ascends(side) ? b->levels[previous].price < b->levels[at].price
                                               : b->levels[previous].price > b->levels[at].price));
        CHECK(treap_reaches(b, s->root[side], at, side_ascends(side)));
        const int code = check_level(b, s, at, side, &seen);
        if (code)
            return code;
        links += (b->levels[at].left != 0) + (b->levels[at].right != 0);
        seen.levels++;
        CHECK(seen.levels <= b->levels_used);
        previous = at;
    }
    /* A tree in which every listed level is reached has one link less than levels, and so holds nothing else. */
    CHECK(links == (seen.levels ? seen.levels - 1 : 0));
    CHECK(seen.orders == s->orders[side] && seen.peaks == s->peaks[side]);
    all->orders += seen.orders;
    all->levels += seen.levels;
    all->reduce_only += seen.reduce_only;
    all->timed += seen.timed;
    return BOOK_OK;
}

static int check_symbol(const book *b, const symbol_book *s, tally *all)
{
    const int64_t reduce_only_before = all->reduce_only;
    for (int side = 0; side < BOOK_SIDES; side++) {
        const int code = check_side(b, s, side, all);
        if (code)
            return code;
    }
    CHECK(all->reduce_only - reduce_only_before == s->reduce_only);
    CHECK(s->elect_low == INT64_MAX && s->elect_high == INT64_MIN);
    const int32_t bid = s->best[BOOK_SIDE_BUY], ask = s->best[BOOK_SIDE_SELL];
    if (s->status != MD_STATUS_AUCTION && bid && ask)
        CHECK(b->levels[bid].price < b->levels[ask].price);
    return BOOK_OK;
}

static int check_pools(const book *b)
{
    int64_t orders_free = 0, levels_free = 0, ids = 0, prices = 0;
    for (int32_t at = b->free_order; at; at = b->orders[at].next) {
        CHECK(at <= b->config.orders_max + 1 && b->orders[at].id == 0 && orders_free <= b->config.orders_max);
        orders_free++;
    }
    for (int32_t at = b->free_level; at; at = b->levels[at].next) {
        CHECK(at <= b->config.levels_max && b->levels[at].side_index == -1 && levels_free < b->config.levels_max);
        levels_free++;
    }
    CHECK(orders_free + b->live == b->config.orders_max + 1 && b->live <= b->config.orders_max);
    CHECK(levels_free + b->levels_used == b->config.levels_max);
    for (uint64_t slot = 0; slot <= b->order_table.mask; slot++)
        ids += b->order_table.entries[slot] != 0;
    for (uint64_t slot = 0; slot <= b->level_table.mask; slot++)
        prices += b->level_table.entries[slot] != 0;
    CHECK(ids == b->live && prices == b->levels_used);
    for (int64_t i = 1; i < b->timed_used; i++) {
        const order_detail *child = &b->details[b->timed[i]], *parent = &b->details[b->timed[(i - 1) / 2]];
        CHECK(parent->expire_ts < child->expire_ts
              || (parent->expire_ts == child->expire_ts && parent->timed_sequence < child->timed_sequence));
    }
    return BOOK_OK;
}

static int check_owners(const book *b)
{
    CHECK(b->owners_used <= b->config.owners_max);
    for (int32_t index = 1; index <= b->owners_used; index++) {
        CHECK(b->owners[index] != 0 && book_owner_find(b, b->owners[index]) == index);
        for (int32_t symbol = 0; symbol < b->symbols_used; symbol++) {
            const int64_t position = *position_of(b, index, symbol);
            CHECK(position <= BOOK_POSITION_MAX && position >= -BOOK_POSITION_MAX);
        }
    }
    return BOOK_OK;
}

int book_check(const book *b)
{
    if (!b)
        return BOOK_ERR_ARGUMENT;
    tally all = {0};
    for (int32_t i = 0; i < b->symbols_used; i++) {
        CHECK(b->symbols[i].index == i);
        const int code = check_symbol(b, &b->symbols[i], &all);
        if (code)
            return code;
    }
    CHECK(all.orders == b->live && all.levels == b->levels_used && all.timed == b->timed_used);
    const int code = check_pools(b);
    return code ? code : check_owners(b);
}
