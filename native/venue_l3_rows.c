/* venue_l3_rows.c: what recorded and generated rows do to an order-by-order book in which orders of ours stand.
 *
 * What a recorded row means once our orders stand among the recorded ones:
 *  - EXECUTE of X for q: the recorded aggressor had q. It meets, in this order, what stands strictly before X and would not stand there
 *    without us (our orders, and recorded orders that ours kept from being executed), and then X with what is left. Nothing else is
 *    touched, so that without orders of ours the recorded book comes out order for order, whatever its oddities;
 *  - ADD, or MODIFY that moves: matches those same orders where it crosses them; the remainder rests. Rows flagged AGGRESSIVE or IOC,
 *    and generated ones, match everybody;
 *  - REDUCE and DELETE of orders that we consumed take the smaller of the row's quantity and what is left;
 *  - rows naming an order that was never seen reduce the quantity seeded without ids (id < 0) at their price, and are counted.
 * A ghost remembers each recorded order whose quantity in our book is not what the tape says: more (we absorbed its execution) or
 * less (we took it).
 */

#include "venue_l3.h"

#include <string.h>

/* ---- Ghosts ---- */

void ghost_erase(venue_l3 *x, const ghost *g)
{
    uint32_t hole = (uint32_t)(g - x->ghosts);
    x->n_ghosts--;
    for (uint32_t slot = (hole + 1) & x->ghost_mask; x->ghosts[slot].id; slot = (slot + 1) & x->ghost_mask) {
        const uint32_t home = ghost_home(x, x->ghosts[slot].id);
        if (((slot - home) & x->ghost_mask) >= ((slot - hole) & x->ghost_mask)) {
            x->ghosts[hole] = x->ghosts[slot];
            hole = slot;
        }
    }
    x->ghosts[hole].id = 0;
}

/* The tape says `left` of the order is left; remembered only while our book says otherwise. */
void ghost_set(venue *v, venue_l3 *x, int64_t id, int64_t left)
{
    ghost *g = ghost_find(x, id);
    if (leaves_of(x, id) == left) {
        if (g)
            ghost_erase(x, g);
        return;
    }
    if (!g) {
        if (x->n_ghosts >= x->ghosts_max) {
            v->error = VENUE_ERR_FULL;
            return;
        }
        uint32_t slot = ghost_home(x, id);
        while (x->ghosts[slot].id)
            slot = (slot + 1) & x->ghost_mask;
        g = &x->ghosts[slot];
        g->id = id;
        x->n_ghosts++;
    }
    g->left = left;
}

/* ---- Rows ---- */

/* The first resting order in the way of a recorded aggressor that would not be there without us: at prices better than `price`; at
 * `price` itself too, where `stop` is 0 and inclusive, or where it stands before the order `stop` in the queue. */
static int32_t in_the_way(const venue_l3 *x, int side, int64_t price, bool inclusive, int32_t stop)
{
    const book *b = x->book;
    for (int32_t at = b->symbols[0].best[side]; at; at = b->levels[at].next) {
        const level *l = &b->levels[at];
        if (!crosses(side ^ 1, price, l->price) || (l->price == price && !inclusive && !stop))
            return 0;
        for (int32_t index = l->head; index; index = b->orders[index].next) {
            if (l->price == price && index == stop)
                return 0;
            if (displaced(x, &b->orders[index]))
                return index;
        }
    }
    return 0;
}

/* Holds a reduce-only order of ours to our position, as the book does when orders match inside it. False: it left. */
static bool reduce_only_stays(venue *v, instrument *in, int32_t index, int64_t visible_ts)
{
    venue_l3 *x = in->l3;
    const order *o = &x->book->orders[index];
    if (!(o->special & ORDER_REDUCE_ONLY))
        return true;
    const int64_t opposed = o->side == BOOK_SIDE_BUY ? -in->position : in->position;
    const int64_t allowed = opposed > 0 ? opposed : 0;
    if (allowed >= order_leaves(o))
        return true;
    report_sink out = {x->reports, v->clock_venue};
    if (allowed == 0) {
        book_order_leave(x->book, index, BOOK_REPORT_CANCELED, BOOK_REASON_REDUCE_ONLY, &out);
    } else {
        book_order_shrink(x->book, index, order_leaves(o) - allowed);
        report_put(&out, BOOK_REPORT_RESTATED, BOOK_REASON_REDUCE_ONLY, o->symbol, o->side, o->id, 0, order_price(x->book, index), 0,
                   allowed, 0);
    }
    reports_tell(v, in, out.next - x->reports, visible_ts);
    return allowed > 0;
}

static void execute(venue *v, instrument *in, int64_t id, int64_t qty, int64_t visible_ts)
{
    venue_l3 *x = in->l3;
    const int64_t n = book_execute_resting(x->book, v->clock_venue, id, qty, x->reports, x->reports_cap);
    if (VENUE_UNLIKELY(n < 0)) {
        v->error = VENUE_ERR_FULL;
        return;
    }
    reports_tell(v, in, n, visible_ts);
}

/* A recorded aggressor with `left` to trade meets what would not be there without us; gives what it keeps. */
static int64_t sweep(venue *v, instrument *in, int side, int64_t price, bool inclusive, int64_t stop_id, int64_t left, int64_t visible_ts)
{
    venue_l3 *x = in->l3;
    while (left > 0 && !v->error) {
        const int32_t stop = stop_id ? order_find(x->book, stop_id) : 0;
        const int32_t index = in_the_way(x, side, price, inclusive, stop);
        if (!index)
            break;
        if (!reduce_only_stays(v, in, index, visible_ts))
            continue;
        const order *o = &x->book->orders[index];
        const int64_t id = o->id, here = displaced(x, o), qty = left < here ? left : here;
        const ghost *g = ghost_find(x, id);
        const int64_t tape_left = g ? g->left : 0;
        execute(v, in, id, qty, visible_ts);
        if (id < OWN_BOOK_ID)
            ghost_set(v, x, id, tape_left);
        left -= qty;
    }
    return left;
}

static bool contested(const venue_l3 *x)
{
    return (x->n_own | x->n_ghosts) != 0;
}

static int64_t book_id_of(const md_row *row)
{
    return row->order_id >= 0 ? row->order_id : SEED_BOOK_ID - row->order_id;
}

/* Rests a recorded order without matching: what the tape says stands, even where it is odd. */
static int rest_recorded(venue *v, instrument *in, const md_row *row, int64_t qty)
{
    venue_l3 *x = in->l3;
    book *b = x->book;
    const int64_t id = book_id_of(row);
    const int32_t facing = b->symbols[0].best[row->side ^ 1];
    const bool crossed = facing && crosses(row->side, row->price, b->levels[facing].price);
    if (VENUE_LIKELY(!crossed && in->status == MD_STATUS_TRADING)) {
        const int64_t n = book_limit(b, id, row->side, row->price, qty);
        if (n != 1)
            return n < 0 ? VENUE_ERR_FULL : VENUE_ERR_TAPE_ROW;
        if (VENUE_UNLIKELY(x->reports[0].kind == BOOK_REPORT_REJECTED))
            return x->reports[0].reason == BOOK_REASON_FULL ? VENUE_ERR_FULL : VENUE_ERR_TAPE_ROW;
    } else {
        if (order_find(b, id) || row->price % in->rules.tick)
            return VENUE_ERR_TAPE_ROW;
        if (b->live >= b->config.orders_max || b->levels_used >= b->config.levels_max)
            return VENUE_ERR_FULL;
        const book_order o = {.order_id = id, .price = row->price, .qty = qty, .side = row->side};
        book_order_rest(b, book_order_load(b, &o, row->price, 0), row->side, row->price);
    }
    tell_level(v, in, row->ts_init, row->side, row->price);
    return VENUE_OK;
}

static int row_add(venue *v, instrument *in, const md_row *row)
{
    venue_l3 *x = in->l3;
    if (row->side > MD_SIDE_SELL || row->qty <= 0 || row->order_id == 0 || row->order_id >= SEED_BOOK_ID
        || row->order_id <= -SEED_BOOK_ID || row->price >= LADDER_PRICE_LIMIT || row->price <= -LADDER_PRICE_LIMIT)
        return VENUE_ERR_TAPE_ROW;
    if (x->source || (row->flags & (MD_FLAG_AGGRESSIVE | MD_FLAG_IOC))) {
        const book_order o = {.order_id = book_id_of(row), .price = row->price, .qty = row->qty, .side = row->side,
                              .time_in_force = row->flags & MD_FLAG_IOC ? BOOK_TIF_IOC : BOOK_TIF_GTC};
        const int64_t n = book_submit(x->book, v->clock_venue, &o, x->reports, x->reports_cap);
        if (n < 0)
            return VENUE_ERR_FULL;
        if (x->reports[0].kind == BOOK_REPORT_REJECTED)
            return x->reports[0].reason == BOOK_REASON_FULL ? VENUE_ERR_FULL : VENUE_ERR_TAPE_ROW;
        reports_tell(v, in, n, row->ts_init);
        return VENUE_OK;
    }
    if (VENUE_LIKELY(!contested(x)) || in->status != MD_STATUS_TRADING || in->gap)
        return rest_recorded(v, in, row, row->qty);
    const int64_t left = sweep(v, in, row->side ^ 1, row->price, true, 0, row->qty, row->ts_init);
    const int code = left > 0 ? rest_recorded(v, in, row, left) : VENUE_OK;
    if (code == VENUE_OK && left < row->qty)
        ghost_set(v, x, book_id_of(row), row->qty);
    return code;
}

/* A row names an order we never saw: what was seeded without ids at its price stands for it. */
static int32_t seed_at(const venue_l3 *x, const md_row *row)
{
    const book *b = x->book;
    const int32_t at = row->side <= MD_SIDE_SELL ? level_find(b, row->side, row->price) : 0;
    for (int32_t index = at ? b->levels[at].head : 0; index; index = b->orders[index].next)
        if (b->orders[index].id >= SEED_BOOK_ID && b->orders[index].id < OWN_BOOK_ID)
            return index;
    return 0;
}

static int64_t min2(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The order a row names, or what stands for it; 0 where neither is there. */
static int32_t row_target(venue *v, instrument *in, const md_row *row)
{
    venue_l3 *x = in->l3;
    const int32_t index = order_find(x->book, book_id_of(row));
    if (VENUE_LIKELY(index != 0))
        return index;
    if (ghost_find(x, book_id_of(row)))
        return 0; /* we consumed all of it */
    v->totals.unknown_ids++;
    return seed_at(x, row);
}

static void row_execute(venue *v, instrument *in, const md_row *row)
{
    venue_l3 *x = in->l3;
    const int32_t index = row_target(v, in, row);
    const int64_t named = book_id_of(row);
    if (VENUE_LIKELY(index && !contested(x))) {
        const order *o = &x->book->orders[index];
        execute(v, in, o->id, min2(row->qty, order_leaves(o)), row->ts_init);
        return;
    }
    const ghost *g = ghost_find(x, named);
    const int64_t id = index ? x->book->orders[index].id : 0;
    const int64_t tape_left = (g ? g->left : id ? leaves_of(x, id) : 0) - row->qty;
    const int side = id ? x->book->orders[index].side : row->side;
    const int64_t price = id ? order_price(x->book, index) : row->price;
    if (side > MD_SIDE_SELL)
        return;
    const int64_t left = sweep(v, in, side, price, false, id, row->qty, row->ts_init);
    /* Stops that the sweep set off may have taken the order itself. */
    const int64_t here = id ? min2(left, leaves_of(x, id)) : 0;
    if (here > 0)
        execute(v, in, id, here, row->ts_init);
    if (id || g)
        ghost_set(v, x, id ? id : named, tape_left > 0 ? tape_left : 0);
}

static void row_reduce(venue *v, instrument *in, const md_row *row, bool all)
{
    venue_l3 *x = in->l3;
    const int32_t index = row_target(v, in, row);
    const int64_t named = book_id_of(row);
    const ghost *g = ghost_find(x, named);
    const int64_t tape_left = g ? (all ? 0 : g->left - row->qty) : -1;
    if (index) {
        const order *o = &x->book->orders[index];
        const int64_t leaves = order_leaves(o);
        const bool whole = all && o->id == named;
        const int64_t qty = whole ? leaves : min2(row->qty, leaves);
        if (qty > 0) {
            const int side = o->side;
            const int64_t price = x->book->levels[o->level].price;
            if (qty == leaves)
                book_cancel_fast(x->book, o->id);
            else
                book_reduce(x->book, v->clock_venue, o->id, qty, x->reports, x->reports_cap);
            tell_level(v, in, row->ts_init, side, price);
        }
    }
    if (g)
        ghost_set(v, x, named, tape_left > 0 ? tape_left : 0);
}

static int row_modify(venue *v, instrument *in, const md_row *row)
{
    venue_l3 *x = in->l3;
    const int32_t index = order_find(x->book, book_id_of(row));
    const ghost *g = ghost_find(x, book_id_of(row));
    if (row->qty <= 0)
        return VENUE_ERR_TAPE_ROW;
    if (index) {
        const order *o = &x->book->orders[index];
        const int64_t price = x->book->levels[o->level].price, tape_before = g ? g->left : order_leaves(o);
        const int side = o->side;
        if (row->side != side)
            return VENUE_ERR_TAPE_ROW;
        if (row->price == price && row->qty <= tape_before) {
            const int64_t qty = min2(tape_before - row->qty, order_leaves(o));
            if (qty == order_leaves(o))
                book_cancel_fast(x->book, o->id);
            else if (qty > 0)
                book_reduce(x->book, v->clock_venue, o->id, qty, x->reports, x->reports_cap);
            tell_level(v, in, row->ts_init, side, price);
            if (g)
                ghost_set(v, x, book_id_of(row), row->qty);
            return VENUE_OK;
        }
        book_cancel_fast(x->book, o->id);
        tell_level(v, in, row->ts_init, side, price);
    } else if (!g) {
        v->totals.unknown_ids++;
    }
    if (g) /* it enters anew, whole: what we took of the old quantity is its owner's loss, not the market's */
        ghost_erase(x, g);
    return row_add(v, in, row);
}

/* The tape starts again: recorded orders leave, ours stay. */
static void row_clear(venue *v, instrument *in, const md_row *row)
{
    venue_l3 *x = in->l3;
    book *b = x->book;
    report_sink nobody = {NULL, v->clock_venue};
    for (int side = 0; side < 2; side++) {
        int32_t next_level, next;
        for (int32_t at = b->symbols[0].best[side]; at; at = next_level) {
            next_level = b->levels[at].next;
            for (int32_t index = b->levels[at].head; index; index = next) {
                next = b->orders[index].next;
                if (b->orders[index].owner != OWN_OWNER)
                    book_order_leave(b, index, BOOK_REPORT_CANCELED, BOOK_REASON_NONE, &nobody);
            }
        }
    }
    memset(x->ghosts, 0, ((size_t)x->ghost_mask + 1) * sizeof *x->ghosts);
    x->n_ghosts = 0;
    in->gap = 0;
    feed_put(v, in, row->ts_init, MD_CLEAR, 0, 0, 0);
    for (int side = 0; side < 2; side++)
        for (int32_t at = b->symbols[0].best[side]; at; at = b->levels[at].next)
            tell_level(v, in, row->ts_init, side, b->levels[at].price);
}

/* Continuous trading opens. Ours may stand crossed with the market: each enters again, best first, and takes what it crosses. */
static void open_ours(venue *v, instrument *in, int64_t visible_ts)
{
    venue_l3 *x = in->l3;
    book *b = x->book;
    symbol_book *s = &b->symbols[0];
    for (int side = 0; side < 2; side++) {
        for (;;) {
            const int32_t facing = s->best[side ^ 1];
            int32_t crossed = 0;
            for (int32_t at = s->best[side]; at && facing && !crossed; at = b->levels[at].next) {
                if (!crosses(side, b->levels[at].price, b->levels[facing].price))
                    break;
                for (int32_t index = b->levels[at].head; index && !crossed; index = b->orders[index].next)
                    crossed = b->orders[index].owner == OWN_OWNER ? index : 0;
            }
            if (!crossed)
                break;
            const int64_t price = order_price(b, crossed);
            report_sink out = {x->reports, v->clock_venue};
            b->details[crossed].price = price;
            book_order_unlink(b, crossed);
            b->orders[crossed].qty += b->orders[crossed].hidden; /* whole, as when it came */
            b->orders[crossed].hidden = 0;
            book_order_enter(b, s, crossed, &out);
            book_stops_run(b, s, &out);
            reports_tell(v, in, out.next - x->reports, visible_ts);
            tell_level(v, in, visible_ts, side, price);
        }
    }
}

/* The book's own auction is not used: a tape's auction comes as rows, and an uncross here would trade recorded orders that the tape
 * trades again. So the status is set as it is told. */
static int row_status(venue *v, instrument *in, const md_row *row)
{
    if (row->price < MD_STATUS_TRADING || row->price > MD_STATUS_CLOSED)
        return VENUE_ERR_TAPE_ROW;
    const bool opens = in->status != MD_STATUS_TRADING && row->price == MD_STATUS_TRADING;
    in->status = (uint8_t)row->price;
    in->l3->book->symbols[0].status = (uint8_t)row->price;
    if (opens && in->l3->n_own)
        open_ours(v, in, row->ts_init);
    return VENUE_OK;
}

int l3_row(venue *v, instrument *in, const md_row *row)
{
    int code = VENUE_OK;
    switch (row->kind) {
    case MD_ADD:
        code = row_add(v, in, row);
        break;
    case MD_DELETE:
        row_reduce(v, in, row, true);
        break;
    case MD_EXECUTE:
        row_execute(v, in, row);
        break;
    case MD_REDUCE:
        row_reduce(v, in, row, false);
        break;
    case MD_MODIFY:
        code = row_modify(v, in, row);
        break;
    case MD_TRADE:
    case MD_HIDDEN:
    case MD_CROSS:
        in->last_price = row->price;
        in->has_last = 1;
        if (in->wake & VENUE_WAKE_TRADE)
            feed_put(v, in, row->ts_init, MD_TRADE, row->side, row->price, row->qty);
        break;
    case MD_CLEAR:
        row_clear(v, in, row);
        break;
    case MD_STATUS:
        code = row_status(v, in, row);
        break;
    case MD_GAP:
        in->gap = 1;
        v->totals.gaps++;
        break;
    default:
        return VENUE_ERR_TAPE_ROW;
    }
    if (code == VENUE_OK)
        code = v->error;
    if (code != VENUE_OK || !(row->flags & MD_FLAG_LAST))
        return code;
    packet_end(v, in, row->ts_init);
    const symbol_book *s = &in->l3->book->symbols[0];
    if (VENUE_UNLIKELY(s->best[0] && s->best[1] && in->l3->book->levels[s->best[0]].price >= in->l3->book->levels[s->best[1]].price)
        && in->status != MD_STATUS_AUCTION && !in->gap) {
        v->totals.crossed++;
        if (in->rules.check_crossed)
            return VENUE_ERR_TAPE_CROSSED;
    }
    return VENUE_OK;
}
