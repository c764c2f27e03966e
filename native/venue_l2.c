/* venue_l2.c: the exchange where the tape has levels and trades: our orders live beside the recorded book.
 *
 * Fill assumptions, each stated again where it is decided:
 *  - a taker takes what the recorded levels show, less what our takers took from them before; it does not move recorded prices;
 *  - a resting order is filled by a print through its price (up to the printed quantity), by a print at its price once what the
 *    queue model puts before it is used up, and by a recorded opposite level at or through its price at a packet's end (up to that
 *    level's quantity, which is then gone). The quantity of one print is shared: no more is filled than was printed;
 *  - the queue model (venue_api.h) says how much of a level's shrinking that no print explains was before us. Published values
 *    of the model: front 40, back 60, level 100 -> 90: power n=2 leaves 36.923077 before us, log 35.253885, risk-averse 40.
 *
 * Stops trigger, and crossing levels fill, at the packet's end: inside a packet the recorded book is half updated. Stops look at
 * recorded prints only: what our own takers trade is not on the tape.
 */

#include "venue_l2.h"

/* ---- Taking ---- */

/* Our own resting order stands in the way: no order of ours trades with another. */
static void self_trade(venue *v, instrument *in, own_order *taker, own_order *maker)
{
    const int mode = v->config.stp_mode == BOOK_STP_NONE ? BOOK_STP_CANCEL_NEWEST : v->config.stp_mode;
    if (mode == BOOK_STP_DECREMENT) {
        const int64_t qty = taker->leaves < maker->leaves ? taker->leaves : maker->leaves;
        own_order *both[2] = {maker, taker};
        for (int i = 0; i < 2; i++) {
            own_order *o = both[i];
            if (o->leaves > qty) {
                o->leaves -= qty;
                if (o->shown > o->leaves)
                    o->shown = o->leaves;
                answer_put(v, in->index, VENUE_EV_RESTATED, o->id, o->leaves, BOOK_REASON_SELF_TRADE, 0, 0, 0);
            } else if (o == maker) {
                l2_cancel(v, in, o, VENUE_EV_CANCELED, BOOK_REASON_SELF_TRADE);
            } else {
                answer_put(v, in->index, VENUE_EV_CANCELED, o->id, qty, BOOK_REASON_SELF_TRADE, 0, 0, 0);
                o->leaves = 0;
            }
        }
        return;
    }
    if (mode != BOOK_STP_CANCEL_NEWEST)
        l2_cancel(v, in, maker, VENUE_EV_CANCELED, BOOK_REASON_SELF_TRADE);
    if (mode != BOOK_STP_CANCEL_OLDEST) {
        answer_put(v, in->index, VENUE_EV_CANCELED, taker->id, taker->leaves, BOOK_REASON_SELF_TRADE, 0, 0, 0);
        taker->leaves = 0;
    }
}

static void take_level(venue *v, instrument *in, own_order *o, int64_t key, int64_t qty)
{
    const int opposite = o->side ^ 1;
    overlay *taken = &in->taken[opposite];
    overlay_set(taken, key, overlay_get(taken, key) + qty);
    const own_side *own = &in->own[opposite];
    for (int32_t at = own_after(own, key) - 1; at >= 0 && own->key[at] == key; at--) {
        own_order *behind = own_at(v, own, at);
        behind->ahead = behind->ahead > (double)qty ? behind->ahead - (double)qty : 0.0;
    }
    l2_fill(v, in, o, ladder_key(opposite, key), qty, 1);
}

/* Worst opposite key that an order takes. */
static int64_t reach_key(const own_order *o)
{
    const bool priced = o->order_type == BOOK_TYPE_LIMIT || o->order_type == BOOK_TYPE_STOP_LIMIT;
    return priced ? ladder_key(o->side ^ 1, o->price) : LADDER_EMPTY + 1;
}

/* Takes what it may, best price first. Fill assumption: every displayed unit we did not take before is there for us at its price;
 * at a price where an order of ours rests too, only the quantity the queue model puts before that one. */
static void take(venue *v, instrument *in, own_order *o)
{
    const int opposite = o->side ^ 1;
    const int64_t reach = reach_key(o);
    while (o->leaves > 0) {
        int64_t available;
        const int64_t key = available_next(in, opposite, INT64_MAX, &available);
        const int64_t own_key = in->own[opposite].best_key;
        if ((key > own_key ? key : own_key) < reach)
            return;
        own_order *maker = own_key >= key ? own_at(v, &in->own[opposite], 0) : NULL;
        if (own_key > key)
            available = 0;
        else if (maker && available > ahead_lots(in, maker))
            available = ahead_lots(in, maker);
        if (available > 0) {
            take_level(v, in, o, key, available < o->leaves ? available : o->leaves);
        } else {
            self_trade(v, in, o, maker);
        }
    }
}

/* What an order could take at once, up to its own quantity. */
static int64_t takeable(const venue *v, const instrument *in, const own_order *o)
{
    const int opposite = o->side ^ 1;
    const int64_t reach = reach_key(o);
    const own_side *own = &in->own[opposite];
    /* Own orders that step aside are no wall. */
    const int64_t wall = v->config.stp_mode == BOOK_STP_CANCEL_OLDEST ? LADDER_EMPTY : own->best_key;
    int64_t total = 0, key = INT64_MAX, available;
    while (total < o->leaves) {
        key = available_next(in, opposite, key, &available);
        if (key < reach || key < wall)
            break;
        if (key == wall) {
            const int64_t before = ahead_lots(in, own_at(v, own, 0));
            total += available < before ? available : before;
            break;
        }
        total += available;
    }
    return total;
}

static bool would_take(const instrument *in, const own_order *o)
{
    int64_t available;
    const int64_t key = available_next(in, o->side ^ 1, INT64_MAX, &available);
    const int64_t own_key = in->own[o->side ^ 1].best_key;
    return (key > own_key ? key : own_key) >= reach_key(o);
}

static void rest(venue *v, instrument *in, own_order *o)
{
    const int64_t key = ladder_key(o->side, o->price);
    o->state = OWN_RESTING;
    o->ahead = (double)(ladder_get(&in->book.side[o->side], key) - overlay_get(&in->taken[o->side], key));
    o->traded = 0;
    own_insert(v, &in->own[o->side], o);
}

/* An accepted order goes to work: takes, then rests or leaves. */
static void enter(venue *v, instrument *in, own_order *o)
{
    const bool market = o->order_type == BOOK_TYPE_MARKET || o->order_type == BOOK_TYPE_STOP;
    const bool immediate = market || o->time_in_force == BOOK_TIF_IOC || o->time_in_force == BOOK_TIF_FOK;
    if (!reduce_only_fits(v, in, o)) {
        answer_put(v, in->index, VENUE_EV_CANCELED, o->id, o->leaves, BOOK_REASON_REDUCE_ONLY, 0, 0, 0);
        own_free(v, o);
        return;
    }
    if (o->time_in_force == BOOK_TIF_FOK && takeable(v, in, o) < o->leaves) {
        answer_put(v, in->index, VENUE_EV_CANCELED, o->id, o->leaves, BOOK_REASON_FOK, 0, 0, 0);
        own_free(v, o);
        return;
    }
    const bool faced = would_take(in, o);
    if (continuous(in)) {
        take(v, in, o);
    } else {
        /* Resting without matching: even so our own orders must not stand crossed, or the opening would trade them. */
        own_side *facing = &in->own[o->side ^ 1];
        while (o->leaves > 0 && facing->n && facing->best_key >= reach_key(o))
            self_trade(v, in, o, own_at(v, facing, 0));
    }
    if (o->leaves > 0 && !immediate) {
        o->shown = o->display_qty && o->display_qty < o->leaves ? o->display_qty : o->leaves;
        rest(v, in, o);
        return;
    }
    if (o->leaves > 0)
        answer_put(v, in->index, VENUE_EV_CANCELED, o->id, o->leaves, market && !faced ? BOOK_REASON_NO_LIQUIDITY : BOOK_REASON_IOC, 0,
                   0, 0);
    own_free(v, o);
}

/* One tick away from what it would have taken; false where that leaves the price band. */
static bool slide(const instrument *in, own_order *o)
{
    int64_t available;
    const int opposite = o->side ^ 1;
    int64_t key = available_next(in, opposite, INT64_MAX, &available);
    if (in->own[opposite].best_key > key)
        key = in->own[opposite].best_key;
    const int64_t best = ladder_key(opposite, key);
    o->price = o->side == BOOK_SIDE_BUY ? best - in->rules.tick : best + in->rules.tick;
    return o->price >= in->rules.price_min && o->price <= in->rules.price_max;
}

/* Why an order cannot be accepted against the book as it stands; may move the price of a sliding one. */
static int entry_reason(venue *v, instrument *in, own_order *o)
{
    if ((o->flags & BOOK_FLAG_REDUCE_ONLY) && lots_down(in, reducible(in, o->side)) == 0)
        return BOOK_REASON_REDUCE_ONLY;
    const bool market = o->order_type == BOOK_TYPE_MARKET || o->order_type == BOOK_TYPE_STOP;
    if (!continuous(in))
        return market || o->time_in_force == BOOK_TIF_IOC || o->time_in_force == BOOK_TIF_FOK ? BOOK_REASON_CLOSED : BOOK_REASON_NONE;
    if (o->order_type == BOOK_TYPE_MARKET)
        return would_take(in, o) ? BOOK_REASON_NONE : BOOK_REASON_NO_LIQUIDITY;
    if ((o->flags & (BOOK_FLAG_POST_ONLY | BOOK_FLAG_POST_ONLY_SLIDE)) && would_take(in, o)) {
        if (o->flags & BOOK_FLAG_POST_ONLY)
            return BOOK_REASON_POST_ONLY;
        return slide(in, o) ? BOOK_REASON_NONE : BOOK_REASON_POST_ONLY;
    }
    return BOOK_REASON_NONE;
}

static bool is_stop(const own_order *o)
{
    return o->order_type == BOOK_TYPE_STOP || o->order_type == BOOK_TYPE_STOP_LIMIT;
}

/* A parked stop goes live; what would refuse it as a new order ends it now. */
void l2_trigger(venue *v, instrument *in, own_order *o)
{
    parked_remove(v, in, o);
    o->state = OWN_ENTERING;
    answer_put(v, in->index, VENUE_EV_TRIGGERED, o->id, 0, 0, 0, 0, 0);
    const int reason = entry_reason(v, in, o);
    if (reason) {
        answer_put(v, in->index, VENUE_EV_CANCELED, o->id, o->leaves, reason, 0, 0, 0);
        own_free(v, o);
        return;
    }
    enter(v, in, o);
}

void l2_submit(venue *v, instrument *in, const venue_order *order)
{
    own_order *o = own_new(v, order);
    if (is_stop(o)) {
        o->state = OWN_PARKED;
        in->parked[in->n_parked++] = (int32_t)(o - v->orders);
        answer_put(v, in->index, VENUE_EV_ACCEPTED, o->id, o->price, o->leaves, 0, 0, 0);
        if (in->has_last && continuous(in) && stop_reached(in, o, in->last_price, in->last_price))
            l2_trigger(v, in, o);
        return;
    }
    const int reason = entry_reason(v, in, o);
    if (reason) {
        answer_put(v, in->index, VENUE_EV_REJECTED, o->id, reason, 0, 0, 0, 0);
        own_free(v, o);
        return;
    }
    answer_put(v, in->index, VENUE_EV_ACCEPTED, o->id, o->price, o->leaves, 0, 0, 0);
    enter(v, in, o);
}

void l2_replace(venue *v, instrument *in, own_order *o, int64_t qty, int64_t price)
{
    if (o->state == OWN_PARKED || (price == o->price && qty < o->leaves)) {
        o->leaves = qty;
        o->price = price;
        if (o->shown > qty || o->state == OWN_PARKED)
            o->shown = o->display_qty && o->display_qty < qty ? o->display_qty : qty;
        answer_put(v, in->index, VENUE_EV_REPLACED, o->id, price, qty, 0, 0, 0);
        return;
    }
    if ((o->flags & BOOK_FLAG_REDUCE_ONLY) && lots_down(in, reducible(in, o->side)) == 0) {
        answer_put(v, in->index, VENUE_EV_REPLACE_REJECTED, o->id, BOOK_REASON_REDUCE_ONLY, 0, 0, 0, 0);
        return;
    }
    own_order changed = *o;
    changed.price = price;
    changed.leaves = qty;
    own_side *own = &in->own[o->side];
    if (continuous(in) && (o->flags & (BOOK_FLAG_POST_ONLY | BOOK_FLAG_POST_ONLY_SLIDE)) && would_take(in, &changed)) {
        const bool slides = (o->flags & BOOK_FLAG_POST_ONLY_SLIDE) && slide(in, &changed);
        if (!slides) {
            answer_put(v, in->index, VENUE_EV_REPLACE_REJECTED, o->id, BOOK_REASON_POST_ONLY, 0, 0, 0, 0);
            return;
        }
    }
    own_remove(v, own, o);
    o->state = OWN_ENTERING;
    o->price = changed.price;
    o->leaves = qty;
    answer_put(v, in->index, VENUE_EV_REPLACED, o->id, o->price, qty, 0, 0, 0);
    enter(v, in, o);
}
