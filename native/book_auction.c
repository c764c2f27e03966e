/* book_auction.c: call auctions for opens and closes: the price that clears most, and the uncross at it. */

#include "book_internal.h"

typedef struct {
    int64_t price, volume, imbalance;
    uint64_t distance;     /* from the reference price */
} clearing;

static uint64_t distance_between(int64_t a, int64_t b)
{
    return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
}

static uint64_t magnitude(int64_t imbalance)
{
    return imbalance < 0 ? (uint64_t)-imbalance : (uint64_t)imbalance;
}

/* Volume first, then imbalance, then the reference, then the lower price. Candidates come in rising price order, so that an equal
 * later one never replaces an earlier one. */
static void consider(clearing *found, int64_t price, int64_t demand, int64_t supply, int64_t reference_price)
{
    const clearing at = {price, demand < supply ? demand : supply, demand - supply, distance_between(price, reference_price)};
    if (at.volume == 0 || at.volume < found->volume)
        return;
    if (at.volume == found->volume) {
        const uint64_t size = magnitude(at.imbalance), size_found = magnitude(found->imbalance);
        if (size > size_found || (size == size_found && at.distance >= found->distance))
            return;
    }
    *found = at;
}

/* Between two order prices demand and supply are constant: of those ticks only the ones nearest to the reference can win. */
static void consider_between(clearing *found, int64_t low, int64_t high, int64_t tick, int64_t demand, int64_t supply,
                             int64_t reference_price)
{
    /* low < high are on the tick, so low + tick and high - tick lie in between or on them. */
    const int64_t first = low + tick, last = high - tick;
    if (first > last)
        return;
    int64_t nearest = reference_price;
    if (reference_price <= first) {
        nearest = first;
    } else if (reference_price >= last) {
        nearest = last;
    } else {
        int64_t above = reference_price % tick;
        above = above < 0 ? above + tick : above;
        nearest = reference_price - above; /* at least first, which is on the tick */
    }
    consider(found, nearest, demand, supply, reference_price);
    if (nearest < reference_price && nearest < last)
        consider(found, nearest + tick, demand, supply, reference_price);
}

/* Every price at which demand or supply changes, rising, and the ticks between them. Bids are walked from the worst up. */
static clearing clear_at(const book *b, const symbol_book *s, int64_t reference_price)
{
    clearing found = {0};
    const int32_t best_bid = s->best[BOOK_SIDE_BUY], best_ask = s->best[BOOK_SIDE_SELL];
    if (!best_bid || !best_ask || b->levels[best_bid].price < b->levels[best_ask].price)
        return found;
    int64_t demand = 0, supply = 0;
    const int64_t floor = b->levels[best_ask].price, ceiling = b->levels[best_bid].price;
    int32_t bid = 0, ask = best_ask;
    /* Below the best ask nothing is supplied: start with the bids that reach it. */
    for (int32_t at = best_bid; at && b->levels[at].price >= floor; at = b->levels[at].next) {
        demand += b->levels[at].qty + b->levels[at].hidden;
        bid = at;
    }
    int64_t previous = 0;
    bool first = true;
    while (bid || (ask && b->levels[ask].price <= ceiling)) {
        const bool take_ask = ask && b->levels[ask].price <= ceiling && (!bid || b->levels[ask].price <= b->levels[bid].price);
        const int64_t price = take_ask ? b->levels[ask].price : b->levels[bid].price;
        if (!first)
            consider_between(&found, previous, price, s->rules.tick, demand, supply, reference_price);
        int64_t bid_here = 0;
        if (take_ask) {
            supply += b->levels[ask].qty + b->levels[ask].hidden;
            ask = b->levels[ask].next;
        }
        if (bid && b->levels[bid].price == price) {
            bid_here = b->levels[bid].qty + b->levels[bid].hidden;
            bid = b->levels[bid].prev;
        }
        consider(&found, price, demand, supply, reference_price);
        demand -= bid_here;
        previous = price;
        first = false;
    }
    return found;
}

int book_auction_begin(book *b, int32_t symbol)
{
    if (!b)
        return BOOK_ERR_ARGUMENT;
    if (symbol < 0 || symbol >= b->symbols_used)
        return BOOK_ERR_SYMBOL;
    b->symbols[symbol].status = MD_STATUS_AUCTION;
    return BOOK_OK;
}

/* 1 and the outputs where something would trade; 0 and zeros where nothing would. */
int book_auction_price(const book *b, int32_t symbol, int64_t reference_price, int64_t *price, int64_t *volume,
                       int64_t *imbalance)
{
    if (!b || !price || !volume || !imbalance)
        return BOOK_ERR_ARGUMENT;
    if (symbol < 0 || symbol >= b->symbols_used)
        return BOOK_ERR_SYMBOL;
    const clearing found = clear_at(b, &b->symbols[symbol], reference_price);
    *price = found.price;
    *volume = found.volume;
    *imbalance = found.imbalance;
    return found.volume > 0;
}

/* What the same owner's orders in front of this one, on its side, could trade. */
static int64_t owner_ahead(const book *b, const symbol_book *s, int32_t index)
{
    const order *o = &b->orders[index];
    int64_t ahead = 0;
    for (int32_t at = s->best[o->side]; at; at = b->levels[at].next) {
        for (int32_t other = b->levels[at].head; other; other = b->orders[other].next) {
            if (other == index)
                return ahead;
            if (b->orders[other].owner_index == o->owner_index)
                ahead += order_leaves(&b->orders[other]);
        }
    }
    return ahead;
}

/* An auction fills many orders at one moment, so reduce-only orders are held to their owner's position before it: each to what
 * the owner's orders ahead of it on that side leave over. */
static void hold_reduce_only(book *b, symbol_book *s, int side, report_sink *out)
{
    int32_t next_level;
    for (int32_t at = s->best[side]; at && s->reduce_only; at = next_level) {
        int32_t next;
        next_level = b->levels[at].next;
        for (int32_t index = b->levels[at].head; index; index = next) {
            const order *o = &b->orders[index];
            next = o->next;
            if (!(o->special & ORDER_REDUCE_ONLY))
                continue;
            const int64_t allowed = reducible(b, o->owner_index, o->symbol, side) - owner_ahead(b, s, index);
            const int64_t excess = order_leaves(o) - allowed;
            if (allowed <= 0) {
                book_order_leave(b, index, BOOK_REPORT_CANCELED, BOOK_REASON_REDUCE_ONLY, out);
            } else if (excess > 0) {
                book_order_shrink(b, index, excess);
                report_put(out, BOOK_REPORT_RESTATED, BOOK_REASON_REDUCE_ONLY, o->symbol, side, o->id, 0,
                           order_price(b, index), excess, allowed, 0);
            }
        }
    }
}

/* One maker's part of an auction trade. */
static void fill_peak(book *b, symbol_book *s, int32_t index, int64_t qty)
{
    order *o = &b->orders[index];
    o->qty -= qty;
    b->levels[o->level].qty -= qty;
    book_position_add(b, o->owner_index, o->symbol, o->side, qty);
    if (o->qty)
        return;
    if (o->hidden) {
        book_replenish(b, s, index);
    } else {
        book_order_unlink(b, index);
        book_order_free(b, index);
    }
}

static void trade_at(book *b, symbol_book *s, int64_t price, report_sink *out)
{
    for (;;) {
        const int32_t bid_level = s->best[BOOK_SIDE_BUY], ask_level = s->best[BOOK_SIDE_SELL];
        if (!bid_level || !ask_level || b->levels[bid_level].price < price || b->levels[ask_level].price > price)
            return;
        const int32_t buy = b->levels[bid_level].head, sell = b->levels[ask_level].head;
        const order *x = &b->orders[buy], *y = &b->orders[sell];
        const int64_t qty = x->qty < y->qty ? x->qty : y->qty;
        report_put(out, BOOK_REPORT_TRADE, BOOK_REASON_NONE, s->index, BOOK_SIDE_BUY, x->id, y->id, price, qty,
                   order_leaves(x) - qty, order_leaves(y) - qty);
        book_trade_mark(b, s, price, qty);
        fill_peak(b, s, buy, qty);
        fill_peak(b, s, sell, qty);
    }
}

static void expire_opening_orders(book *b, symbol_book *s, report_sink *out)
{
    for (int side = 0; side < BOOK_STOPS; side++) {
        int32_t next_level;
        for (int32_t at = s->best[side]; at; at = next_level) {
            int32_t next;
            next_level = b->levels[at].next;
            for (int32_t index = b->levels[at].head; index; index = next) {
                next = b->orders[index].next;
                if (b->orders[index].time_in_force == BOOK_TIF_OPG)
                    book_order_leave(b, index, BOOK_REPORT_EXPIRED, BOOK_REASON_NONE, out);
            }
        }
    }
}

/* Reduce-only orders are held to their positions, everything that can trades at the clearing price in price-time priority (the
 * buyer is reported as order_id), opening orders expire, continuous trading begins, and stops see the last price. Self-trade
 * prevention does not apply in an auction. */
int64_t book_uncross(book *b, int64_t ts, int32_t symbol, int64_t reference_price, book_report *reports, int64_t cap)
{
    if (!b || cap < 0 || (cap > 0 && !reports))
        return BOOK_ERR_ARGUMENT;
    if (symbol < 0 || symbol >= b->symbols_used)
        return BOOK_ERR_SYMBOL;
    symbol_book *s = &b->symbols[symbol];
    if (s->status != MD_STATUS_AUCTION)
        return BOOK_ERR_ARGUMENT;
    int64_t orders = 0;
    for (int side = 0; side < BOOK_SIDES; side++)
        orders += s->orders[side];
    if (orders && cap < book_reports_worst_all(s, 0))
        return BOOK_ERR_REPORTS_FULL;
    report_sink out = {reports, ts};
    b->ts_last = ts;
    hold_reduce_only(b, s, BOOK_SIDE_BUY, &out);
    hold_reduce_only(b, s, BOOK_SIDE_SELL, &out);
    const clearing found = clear_at(b, s, reference_price);
    if (found.volume)
        trade_at(b, s, found.price, &out);
    expire_opening_orders(b, s, &out);
    s->status = MD_STATUS_TRADING;
    if (s->has_last) {
        s->elect_low = s->last_price;
        s->elect_high = s->last_price;
    }
    book_stops_run(b, s, &out);
    return out.next - reports;
}
