/* book_submit.c: the general way in: validation, all order types and flags, replace. */

#include "book_internal.h"

#define KNOWN_FLAGS (BOOK_FLAG_POST_ONLY | BOOK_FLAG_POST_ONLY_SLIDE | BOOK_FLAG_REDUCE_ONLY)
#define POST_FLAGS (BOOK_FLAG_POST_ONLY | BOOK_FLAG_POST_ONLY_SLIDE)

static bool is_market(int order_type)
{
    return order_type == BOOK_TYPE_MARKET || order_type == BOOK_TYPE_STOP;
}

static bool is_stop(int order_type)
{
    return order_type == BOOK_TYPE_STOP || order_type == BOOK_TYPE_STOP_LIMIT;
}

static bool at_once(int time_in_force)
{
    return time_in_force == BOOK_TIF_IOC || time_in_force == BOOK_TIF_FOK;
}

/* Unknown values, and fields that contradict each other. */
static bool fields_ok(int64_t ts, const book_order *o)
{
    if (o->order_id <= 0 || o->side > BOOK_SIDE_SELL || o->order_type > BOOK_TYPE_STOP_LIMIT || o->time_in_force > BOOK_TIF_OPG
        || (o->flags & ~KNOWN_FLAGS) != 0 || (o->flags & POST_FLAGS) == POST_FLAGS)
        return false;
    if ((o->flags & POST_FLAGS) && (is_market(o->order_type) || at_once(o->time_in_force) || o->time_in_force == BOOK_TIF_OPG))
        return false;
    if ((o->flags & BOOK_FLAG_REDUCE_ONLY) && (o->owner == 0 || (o->display_qty > 0 && o->display_qty < o->qty)))
        return false;
    if (o->time_in_force == BOOK_TIF_GTD && (o->expire_ts <= ts || o->order_type == BOOK_TYPE_MARKET))
        return false;
    return !(o->time_in_force == BOOK_TIF_OPG && is_stop(o->order_type));
}

static bool status_ok(const symbol_book *s, const book_order *o)
{
    if (s->status == MD_STATUS_TRADING)
        return o->time_in_force != BOOK_TIF_OPG;
    if (s->status != MD_STATUS_AUCTION)
        return false;
    /* Nothing can execute at once before the uncross; parked stops and resting limits can wait for it. */
    if (is_stop(o->order_type) || o->time_in_force == BOOK_TIF_OPG)
        return true;
    return o->order_type == BOOK_TYPE_LIMIT && !at_once(o->time_in_force);
}

static int qty_reason(const symbol_book *s, int64_t qty, int64_t display_qty)
{
    const book_symbol *rules = &s->rules;
    if (qty < rules->qty_min || qty > rules->qty_max || qty % rules->lot != 0)
        return BOOK_REASON_BAD_QTY;
    if (display_qty < 0 || (display_qty < qty && display_qty % rules->lot != 0))
        return BOOK_REASON_BAD_QTY;
    return BOOK_REASON_NONE;
}

static int price_reason(const symbol_book *s, int64_t price)
{
    if (price < s->rules.price_min || price > s->rules.price_max)
        return BOOK_REASON_BAD_PRICE;
    return price % s->rules.tick != 0 ? BOOK_REASON_BAD_TICK : BOOK_REASON_NONE;
}

/* In an auction a market order is a limit at the far edge of the band: nothing has a better price. */
static int64_t market_edge(const symbol_book *s, int side)
{
    const int64_t tick = s->rules.tick;
    const int64_t edge = side == BOOK_SIDE_BUY ? s->rules.price_max : s->rules.price_min;
    const int64_t inward = side == BOOK_SIDE_BUY ? (edge % tick < 0 ? edge % tick + tick : edge % tick)
                                                 : (edge % tick > 0 ? tick - edge % tick : -(edge % tick));
    int64_t price;
    /* A band without any price on the tick leads outside, and is refused by the caller. */
    if (side == BOOK_SIDE_BUY ? __builtin_sub_overflow(edge, inward, &price) : __builtin_add_overflow(edge, inward, &price))
        return edge;
    return price;
}

/* Post-only: moves *price one tick away from the opposite best if it would take. False: it must be refused. */
static bool post_only_ok(const book *b, const symbol_book *s, int side, int flags, int64_t *price)
{
    const int32_t facing = s->best[side ^ 1];
    if (!(flags & POST_FLAGS) || s->status != MD_STATUS_TRADING || !facing)
        return true;
    const int64_t opposite = b->levels[facing].price;
    if (!crosses(side, *price, opposite))
        return true;
    if (flags & BOOK_FLAG_POST_ONLY)
        return false;
    int64_t slid;
    const bool overflow = side == BOOK_SIDE_BUY ? __builtin_sub_overflow(opposite, s->rules.tick, &slid)
                                                : __builtin_add_overflow(opposite, s->rules.tick, &slid);
    if (overflow || price_reason(s, slid) != BOOK_REASON_NONE)
        return false;
    *price = slid;
    return true;
}

static bool level_room(const book *b, int32_t symbol, int side, int64_t price)
{
    return b->levels_used < b->config.levels_max || level_find(b, symbol * BOOK_SIDES + side, price);
}

static bool full(const book *b, const symbol_book *s, const book_order *o, int64_t price)
{
    if (o->owner && !book_owner_find(b, o->owner) && b->owners_used == b->config.owners_max)
        return true;
    const bool stop = is_stop(o->order_type);
    const bool limit_rests = o->order_type == BOOK_TYPE_LIMIT && !at_once(o->time_in_force);
    const bool rests = stop || limit_rests || o->time_in_force == BOOK_TIF_OPG;
    if (!rests)
        return false;
    if (b->live >= b->config.orders_max)
        return true;
    return !level_room(b, s->index, o->side + (stop ? BOOK_STOPS : 0), stop ? o->trigger_price : price);
}

/* Why a new order is refused, or 0 and the price that it will have. The first reason in this order is the one reported. */
int book_order_reason(const book *b, const symbol_book *s, int64_t ts, const book_order *o, int64_t *price)
{
    *price = is_market(o->order_type) ? 0 : o->price;
    if (!fields_ok(ts, o))
        return BOOK_REASON_BAD_FIELD;
    if (order_find(b, o->order_id))
        return BOOK_REASON_DUPLICATE_ID;
    if (!status_ok(s, o))
        return BOOK_REASON_CLOSED;
    int reason = qty_reason(s, o->qty, o->display_qty);
    if (reason == BOOK_REASON_NONE && !is_market(o->order_type))
        reason = price_reason(s, o->price);
    if (reason != BOOK_REASON_NONE)
        return reason;
    if (is_stop(o->order_type) && price_reason(s, o->trigger_price) != BOOK_REASON_NONE)
        return BOOK_REASON_BAD_TRIGGER;
    if (o->order_type == BOOK_TYPE_MARKET && o->time_in_force == BOOK_TIF_OPG) {
        *price = market_edge(s, o->side);
        if (price_reason(s, *price) != BOOK_REASON_NONE)
            return BOOK_REASON_BAD_PRICE;
    }
    if (!is_stop(o->order_type)) {
        if ((o->flags & BOOK_FLAG_REDUCE_ONLY) && reducible(b, book_owner_find(b, o->owner), s->index, o->side) == 0)
            return BOOK_REASON_REDUCE_ONLY;
        if (!post_only_ok(b, s, o->side, o->flags, price))
            return BOOK_REASON_POST_ONLY;
        if (o->order_type == BOOK_TYPE_MARKET && o->time_in_force != BOOK_TIF_OPG && !s->best[o->side ^ 1])
            return BOOK_REASON_NO_LIQUIDITY;
    }
    return full(b, s, o, *price) ? BOOK_REASON_FULL : BOOK_REASON_NONE;
}

/* Could `t` fill at once? Reduce-only makers do not count, because how much of them is left is only known when they are
 * reached; own orders do not count under self-trade prevention, and unless they only step aside they are also a wall. */
static bool fillable(const book *b, const symbol_book *s, const taker *t)
{
    const int mode = t->owner_index ? b->config.stp_mode : BOOK_STP_NONE;
    int64_t found = 0;
    for (int32_t at = s->best[t->side ^ 1]; at && crosses(t->side, t->price, b->levels[at].price); at = b->levels[at].next) {
        int64_t hidden = 0;
        for (int32_t index = b->levels[at].head; index; index = b->orders[index].next) {
            const order *m = &b->orders[index];
            if (mode != BOOK_STP_NONE && m->owner_index == t->owner_index) {
                if (mode != BOOK_STP_CANCEL_OLDEST)
                    return found >= t->left; /* hidden quantity at this price waits behind the wall */
            } else if (!(m->special & ORDER_REDUCE_ONLY)) {
                found += m->qty;
                hidden += m->hidden;
            }
        }
        found += hidden;
        if (found >= t->left)
            return true;
    }
    return found >= t->left;
}

static taker taker_of(const book *b, int32_t index)
{
    const order *o = &b->orders[index];
    const int64_t price = b->details[index].price;
    const bool market = is_market(o->order_type);
    return (taker){.id = o->id, .named_price = price, .left = order_leaves(o), .owner = o->owner, .owner_index = o->owner_index,
                   .price = !market ? price : o->side == BOOK_SIDE_BUY ? INT64_MAX : INT64_MIN,
                   .symbol = o->symbol, .side = o->side, .special = o->special & ORDER_OWNED};
}

/* A loaded order that is in no queue goes live: it is held to its reduce-only limit, matches, and what is left rests or
 * leaves. */
void book_order_enter(book *b, symbol_book *s, int32_t index, report_sink *out)
{
    order *o = &b->orders[index];
    if (o->special & ORDER_REDUCE_ONLY) {
        const int64_t allowed = reducible(b, o->owner_index, o->symbol, o->side);
        if (allowed == 0) {
            book_order_leave(b, index, BOOK_REPORT_CANCELED, BOOK_REASON_REDUCE_ONLY, out);
            return;
        }
        if (allowed < o->qty) {
            report_put(out, BOOK_REPORT_RESTATED, BOOK_REASON_REDUCE_ONLY, o->symbol, o->side, o->id, 0, b->details[index].price,
                       o->qty - allowed, allowed, 0);
            o->qty = allowed;
        }
    }
    taker t = taker_of(b, index);
    const bool market = is_market(o->order_type);
    if (o->time_in_force == BOOK_TIF_FOK && !fillable(b, s, &t)) {
        book_order_leave(b, index, BOOK_REPORT_CANCELED, BOOK_REASON_FOK, out);
        return;
    }
    const bool faced = s->best[o->side ^ 1] != 0;
    book_match(b, s, &t, out);
    o->qty = t.left;
    if (t.stopped || t.left == 0) {
        b->totals.canceled += t.stopped;
        book_order_free(b, index);
    } else if (market) {
        book_order_leave(b, index, BOOK_REPORT_CANCELED, faced ? BOOK_REASON_IOC : BOOK_REASON_NO_LIQUIDITY, out);
    } else if (at_once(o->time_in_force)) {
        book_order_leave(b, index, BOOK_REPORT_CANCELED, BOOK_REASON_IOC, out);
    } else if (!level_room(b, s->index, o->side, t.price)) {
        book_order_leave(b, index, BOOK_REPORT_CANCELED, BOOK_REASON_FULL, out);
    } else {
        book_order_rest(b, index, o->side, t.price);
    }
}

/* A stop that is elected: it becomes a market or limit order now. It is in no queue. */
void book_stop_activate(book *b, symbol_book *s, int32_t index, report_sink *out)
{
    order *o = &b->orders[index];
    int64_t *price = &b->details[index].price;
    report_put(out, BOOK_REPORT_TRIGGERED, BOOK_REASON_NONE, o->symbol, o->side, o->id, 0, *price, o->qty, o->qty, 0);
    if (!post_only_ok(b, s, o->side, o->flags, price))
        book_order_leave(b, index, BOOK_REPORT_CANCELED, BOOK_REASON_POST_ONLY, out);
    else
        book_order_enter(b, s, index, out);
}

static void accept(book *b, symbol_book *s, const book_order *o, int64_t price, report_sink *out)
{
    const int32_t index = book_order_load(b, o, price, book_owner_make(b, o->owner));
    b->totals.accepted++;
    report_put(out, BOOK_REPORT_ACCEPTED, BOOK_REASON_NONE, o->symbol, o->side, o->order_id, 0, price, o->qty, o->qty, 0);
    if (is_stop(o->order_type)) {
        if (s->status == MD_STATUS_TRADING && book_stop_passed(s, o->side, o->trigger_price)) {
            book_stop_activate(b, s, index, out);
            book_stops_run(b, s, out);
        } else {
            book_order_rest(b, index, o->side + BOOK_STOPS, o->trigger_price);
        }
    } else if (s->status == MD_STATUS_AUCTION) {
        book_order_rest(b, index, o->side, price);
    } else {
        book_order_enter(b, s, index, out);
        book_stops_run(b, s, out);
    }
}

static int64_t submit_worst(const book *b, const symbol_book *s, const book_order *o, int64_t price)
{
    if (s->status == MD_STATUS_AUCTION)
        return 1;
    const bool market = is_market(o->order_type);
    taker t = {.price = !market ? price : o->side == BOOK_SIDE_BUY ? INT64_MAX : INT64_MIN, .left = o->qty, .side = o->side,
               .owner_index = book_owner_find(b, o->owner)};
    /* Within a cascade an iceberg that rests may itself be taken peak by peak. */
    const int64_t display = o->display_qty > 0 && o->display_qty < o->qty ? o->display_qty : o->qty;
    const int64_t peaks = o->qty / display + 1;
    if (is_stop(o->order_type))
        return book_stop_passed(s, o->side, o->trigger_price) ? book_reports_worst_all(s, peaks + 4) : 1;
    return book_reports_worst(b, s, &t, peaks) + ((o->flags & BOOK_FLAG_REDUCE_ONLY) != 0);
}

static int64_t submit_general(book *b, symbol_book *s, const book_order *o, report_sink *out, int64_t cap)
{
    book_report *const first = out->next;
    int64_t price;
    const int reason = book_order_reason(b, s, out->ts, o, &price);
    if (cap < 1 && first)
        return BOOK_ERR_REPORTS_FULL;
    if (reason != BOOK_REASON_NONE) {
        report_put(out, BOOK_REPORT_REJECTED, reason, s->index, o->side, o->order_id, 0, o->price, o->qty, 0, 0);
        b->totals.rejected++;
        return 1;
    }
    if (first && submit_worst(b, s, o, price) > cap)
        return BOOK_ERR_REPORTS_FULL;
    accept(b, s, o, price, out);
    return out->next - first;
}

int64_t book_submit_auction_limit(book *b, symbol_book *s, int64_t id, int side, int64_t price, int64_t qty, report_sink *out,
                                  int64_t cap)
{
    const book_order o = {.order_id = id, .price = price, .qty = qty, .symbol = s->index, .side = (uint8_t)side};
    return submit_general(b, s, &o, out, cap);
}

int64_t book_submit(book *b, int64_t ts, const book_order *o, book_report *reports, int64_t cap)
{
    if (!b || !o || cap < 0 || (cap > 0 && !reports))
        return BOOK_ERR_ARGUMENT;
    if (o->symbol < 0 || o->symbol >= b->symbols_used)
        return BOOK_ERR_SYMBOL;
    if (cap == 0)
        return BOOK_ERR_REPORTS_FULL;
    b->ts_last = ts;
    symbol_book *s = &b->symbols[o->symbol];
    report_sink out = {reports, ts};
    const bool plain = !(o->order_type | o->time_in_force | o->flags | (o->side & ~1)) && !o->owner && !o->display_qty;
    if (plain && s->status != MD_STATUS_AUCTION)
        return book_submit_plain(b, s, o->order_id, o->side, o->price, o->qty, &out, cap);
    return submit_general(b, s, o, &out, cap);
}

int64_t book_cancel(book *b, int64_t ts, int64_t order_id, book_report *reports, int64_t cap)
{
    if (!b || cap < 0 || (cap > 0 && !reports))
        return BOOK_ERR_ARGUMENT;
    if (cap == 0)
        return BOOK_ERR_REPORTS_FULL;
    b->ts_last = ts;
    report_sink out = {reports, ts};
    return book_cancel_plain(b, order_id, &out);
}

/* Why a replace is refused, or 0 and the price it will have. */
static int replace_reason(const book *b, int32_t index, int64_t qty, int64_t *price)
{
    const order *o = &b->orders[index];
    const symbol_book *s = &b->symbols[o->symbol];
    const bool parked = order_parked(b, o);
    if (parked && o->order_type == BOOK_TYPE_STOP)
        *price = 0;
    const int64_t price_now = order_price(b, index);
    if (s->status != MD_STATUS_TRADING && s->status != MD_STATUS_AUCTION)
        return BOOK_REASON_CLOSED;
    int reason = qty_reason(s, qty, 0);
    if (reason == BOOK_REASON_NONE && !(parked && o->order_type == BOOK_TYPE_STOP))
        reason = price_reason(s, *price);
    if (reason != BOOK_REASON_NONE)
        return reason;
    if (qty == order_leaves(o) && *price == price_now)
        return BOOK_REASON_NO_CHANGE;
    if (parked || (*price == price_now && qty < order_leaves(o)))
        return BOOK_REASON_NONE;
    if ((o->flags & BOOK_FLAG_REDUCE_ONLY) && reducible(b, o->owner_index, o->symbol, o->side) == 0)
        return BOOK_REASON_REDUCE_ONLY;
    if (!post_only_ok(b, s, o->side, o->flags, price))
        return BOOK_REASON_POST_ONLY;
    /* Its own level is free again if nobody else stands there. */
    if (b->levels[o->level].orders > 1 && !level_room(b, o->symbol, o->side, *price))
        return BOOK_REASON_FULL;
    return BOOK_REASON_NONE;
}

static void replaced_report(const order *o, int64_t qty, int64_t price, report_sink *out)
{
    report_put(out, BOOK_REPORT_REPLACED, BOOK_REASON_NONE, o->symbol, o->side, o->id, 0, price, qty, qty, 0);
}

/* Back of the queue: a stop waits again at its trigger, any other order enters as if new. */
static void replace_requeue(book *b, symbol_book *s, int32_t index, int64_t qty, int64_t price, report_sink *out)
{
    order *o = &b->orders[index];
    const bool parked = order_parked(b, o);
    order_detail *detail = &b->details[index];
    /* A plain order never wrote its details. */
    if (o->special == 0 && !parked)
        *detail = (order_detail){0};
    detail->price = price;
    book_order_unlink(b, index);
    o->qty = qty;
    o->hidden = 0;
    replaced_report(o, qty, price, out);
    if (parked) {
        book_order_rest(b, index, o->side + BOOK_STOPS, detail->trigger_price);
    } else if (s->status == MD_STATUS_AUCTION) {
        book_order_rest(b, index, o->side, price);
    } else {
        /* What was accepted to rest does not turn into market: a triggered stop-limit is a limit from here on. */
        book_order_enter(b, s, index, out);
        book_stops_run(b, s, out);
    }
}

int64_t book_replace(book *b, int64_t ts, int64_t order_id, int64_t qty, int64_t price, book_report *reports, int64_t cap)
{
    if (!b || cap < 0 || (cap > 0 && !reports))
        return BOOK_ERR_ARGUMENT;
    if (cap == 0)
        return BOOK_ERR_REPORTS_FULL;
    report_sink out = {reports, ts};
    const int32_t index = order_find(b, order_id);
    const int64_t asked = price;
    const int reason = index ? replace_reason(b, index, qty, &price) : BOOK_REASON_UNKNOWN_ORDER;
    if (reason != BOOK_REASON_NONE) {
        const order *o = &b->orders[index];
        b->ts_last = ts;
        report_put(&out, BOOK_REPORT_REPLACE_REJECTED, reason, index ? o->symbol : -1, index ? o->side : 0, order_id, 0,
                   asked, qty, index ? order_leaves(o) : 0, 0);
        b->totals.rejected++;
        return 1;
    }
    order *o = &b->orders[index];
    symbol_book *s = &b->symbols[o->symbol];
    if (price == order_price(b, index) && qty < order_leaves(o)) {
        b->ts_last = ts;
        book_order_shrink(b, index, order_leaves(o) - qty);
        replaced_report(o, qty, price, &out);
        return 1;
    }
    if (!order_parked(b, o) && s->status == MD_STATUS_TRADING) {
        const taker t = {.price = price, .left = qty, .side = o->side, .owner_index = o->owner_index};
        const int64_t display = o->special & ORDER_ICEBERG ? b->details[index].display_qty : qty;
        const int64_t worst = book_reports_worst(b, s, &t, qty / display + 1);
        if (cap - 1 < worst)
            return BOOK_ERR_REPORTS_FULL;
    }
    b->ts_last = ts;
    replace_requeue(b, s, index, qty, price, &out);
    return out.next - reports;
}
