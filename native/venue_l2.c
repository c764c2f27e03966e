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
 * Stops trigger, and crossing levels fill, at the packet's end: inside a packet the recorded book is half updated.
 */

#include "venue_internal.h"

#include <string.h>

/* ---- Consumed liquidity ---- */

/* First index whose key is <= key (keys descend: best first). */
static int32_t overlay_find(const overlay *o, int64_t key)
{
    int32_t low = 0, high = o->n;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (o->key[middle] > key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int64_t overlay_get(const overlay *o, int64_t key)
{
    if (VENUE_LIKELY(o->n == 0))
        return 0;
    const int32_t at = overlay_find(o, key);
    return at < o->n && o->key[at] == key ? o->qty[at] : 0;
}

static void overlay_set(overlay *o, int64_t key, int64_t qty)
{
    const int32_t at = overlay_find(o, key);
    const bool found = at < o->n && o->key[at] == key;
    if (found && qty) {
        o->qty[at] = qty;
    } else if (found) {
        o->n--;
        memmove(&o->key[at], &o->key[at + 1], (size_t)(o->n - at) * sizeof *o->key);
        memmove(&o->qty[at], &o->qty[at + 1], (size_t)(o->n - at) * sizeof *o->qty);
    } else if (qty) { /* never full: an entry lives only as long as its recorded level */
        memmove(&o->key[at + 1], &o->key[at], (size_t)(o->n - at) * sizeof *o->key);
        memmove(&o->qty[at + 1], &o->qty[at], (size_t)(o->n - at) * sizeof *o->qty);
        o->key[at] = key;
        o->qty[at] = qty;
        o->n++;
    }
}

static int64_t lots_down(const instrument *in, int64_t qty)
{
    return in->rules.lot == 1 ? qty : qty - qty % in->rules.lot;
}

/* The best recorded level worse than `key` with a whole lot left that we did not take; INT64_MAX starts at the best. */
static int64_t available_next(const instrument *in, int side, int64_t key, int64_t *qty)
{
    do {
        key = ladder_next(&in->book.side[side], key, qty);
        *qty = lots_down(in, *qty - overlay_get(&in->taken[side], key));
    } while (key != LADDER_EMPTY && *qty <= 0);
    return key;
}

/* ---- Own orders by price ---- */

/* First index with a key worse than `key`: where a new order at `key` goes. */
static int32_t own_after(const own_side *s, int64_t key)
{
    int32_t low = 0, high = s->n;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (s->key[middle] >= key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void own_insert(venue *v, own_side *s, own_order *o)
{
    const int64_t key = ladder_key(o->side, o->price);
    const int32_t at = own_after(s, key);
    memmove(&s->key[at + 1], &s->key[at], (size_t)(s->n - at) * sizeof *s->key);
    memmove(&s->index[at + 1], &s->index[at], (size_t)(s->n - at) * sizeof *s->index);
    s->key[at] = key;
    s->index[at] = (int32_t)(o - v->orders);
    s->n++;
    s->best_key = s->key[0];
}

static void own_remove(venue *v, own_side *s, const own_order *o)
{
    const int32_t index = (int32_t)(o - v->orders);
    int32_t at = own_after(s, ladder_key(o->side, o->price)) - 1;
    while (s->index[at] != index)
        at--;
    s->n--;
    memmove(&s->key[at], &s->key[at + 1], (size_t)(s->n - at) * sizeof *s->key);
    memmove(&s->index[at], &s->index[at + 1], (size_t)(s->n - at) * sizeof *s->index);
    s->best_key = s->n ? s->key[0] : LADDER_EMPTY;
}

static void parked_remove(venue *v, instrument *in, const own_order *o)
{
    const int32_t index = (int32_t)(o - v->orders);
    int32_t at = 0;
    while (in->parked[at] != index)
        at++;
    in->n_parked--;
    memmove(&in->parked[at], &in->parked[at + 1], (size_t)(in->n_parked - at) * sizeof *in->parked);
}

void l2_cancel(venue *v, instrument *in, own_order *o, int64_t kind, int64_t reason)
{
    answer_put(v, in->index, kind, o->id, o->leaves, reason, 0, 0, 0);
    if (o->state == OWN_PARKED)
        parked_remove(v, in, o);
    else
        own_remove(v, &in->own[o->side], o);
    own_free(v, o);
}

/* Whole lots before an order: part of a lot before us still keeps us waiting for that lot. */
static int64_t ahead_lots(const instrument *in, const own_order *o)
{
    int64_t qty = (int64_t)o->ahead;
    qty += (double)qty < o->ahead;
    const int64_t rest = qty % in->rules.lot;
    return rest ? qty + in->rules.lot - rest : qty;
}

/* Puts a fill on an order: the caller takes it away when nothing is left. */
static void fill(venue *v, instrument *in, own_order *o, int64_t price, int64_t qty, int64_t taker)
{
    o->leaves -= qty;
    o->filled += qty;
    o->shown -= qty < o->shown ? qty : o->shown;
    in->position += o->side == BOOK_SIDE_BUY ? qty : -qty;
    answer_put(v, in->index, VENUE_EV_FILL, o->id, price, qty, o->leaves, taker | (o->side << 1), ++v->execution_id);
}

/* How much a reduce-only order on this side may still trade. */
static int64_t reducible(const instrument *in, int side)
{
    const int64_t opposed = side == BOOK_SIDE_BUY ? -in->position : in->position;
    return opposed > 0 ? opposed : 0;
}

/* Holds a reduce-only order to the position. False: nothing may be left and the caller cancels it. */
static bool reduce_only_fits(venue *v, instrument *in, own_order *o)
{
    if (!(o->flags & BOOK_FLAG_REDUCE_ONLY))
        return true;
    const int64_t allowed = lots_down(in, reducible(in, o->side));
    if (allowed == 0)
        return false;
    if (allowed < o->leaves) {
        o->leaves = allowed;
        if (o->shown > allowed)
            o->shown = allowed;
        answer_put(v, in->index, VENUE_EV_RESTATED, o->id, o->leaves, BOOK_REASON_REDUCE_ONLY, 0, 0, 0);
    }
    return true;
}

/* ---- Queue position ---- */

/* Share of an unexplained decrease that was behind us: f(back) / (f(back) + f(front)). Quantities in lots, because ln(1 + x) has
 * units. Source: hftbacktest's ProbQueueModel, after the survey in REFERENCE (power and log functions). */
static double share_behind(const venue_instrument *rules, double front, double back)
{
    const double lot = (double)rules->lot;
    if (back <= 0.0)
        return 0.0;
    if (rules->queue_model == VENUE_QUEUE_LOG) {
        const double f_back = math_ln(1.0 + back / lot);
        return f_back / (f_back + math_ln(1.0 + front / lot));
    }
    const double ratio = front / back; /* f(back)/(f(back)+f(front)) = 1 / (1 + (front/back)^n) */
    double power = ratio;
    if (rules->queue_power == 2.0)
        power = ratio * ratio;
    else if (rules->queue_power == 3.0)
        power = ratio * ratio * ratio;
    else if (rules->queue_power != 1.0)
        power = ratio > 0.0 ? math_exp(rules->queue_power * math_ln(ratio)) : 0.0;
    return 1.0 / (1.0 + power);
}

/* The recorded level at our price went from `before` to `after` (what we took from it already left out). */
static void queue_update(const instrument *in, own_order *o, int64_t before, int64_t after)
{
    /* Prints at our price already moved us up: what they explain of the decrease must not count twice. */
    const int64_t settled = before - o->traded > 0 ? before - o->traded : 0;
    const double decrease = (double)(settled - after);
    const double front = o->ahead;
    o->traded = 0;
    if (decrease > 0.0 && front > 0.0 && in->rules.queue_model != VENUE_QUEUE_RISK_AVERSE) {
        const double back = (double)settled - front > 0.0 ? (double)settled - front : 0.0;
        const double behind = share_behind(&in->rules, front, back) * decrease;
        o->ahead = front - (decrease - behind);
        if (behind > back) /* more than there was behind us: the rest was before us */
            o->ahead -= behind - back;
    }
    if (o->ahead > (double)after)
        o->ahead = (double)after;
    if (o->ahead < 0.0)
        o->ahead = 0.0;
}

void l2_level_own(venue *v, instrument *in, int side, int64_t key, int64_t before, int64_t after)
{
    overlay *taken = &in->taken[side];
    const int64_t taken_before = overlay_get(taken, key);
    int64_t taken_after = taken_before;
    if (taken_before && after < before) {
        /* The orders we took stood first in the recorded queue: what leaves the level is taken to be them, until none is left. */
        taken_after -= before - after;
        if (taken_after < 0 || after == 0)
            taken_after = 0;
        overlay_set(taken, key, taken_after);
    }
    const own_side *own = &in->own[side];
    for (int32_t at = own_after(own, key) - 1; at >= 0 && own->key[at] == key; at--)
        queue_update(in, own_at(v, own, at), before - taken_before, after - taken_after);
}

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
    fill(v, in, o, ladder_key(opposite, key), qty, 1);
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

static bool continuous(const instrument *in)
{
    return in->status == MD_STATUS_TRADING && !in->gap;
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

static bool stop_reached(const instrument *in, const own_order *o, int64_t low, int64_t high)
{
    return o->side == BOOK_SIDE_BUY ? high >= o->trigger_price : low <= o->trigger_price;
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
static void trigger(venue *v, instrument *in, own_order *o)
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
            trigger(v, in, o);
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

/* ---- What the tape does to resting orders ---- */

/* Fills a resting order up to qty, or ends it when reduce-only forbids; gives what was filled. */
static int64_t fill_resting(venue *v, instrument *in, own_order *o, int64_t qty)
{
    if (!reduce_only_fits(v, in, o)) {
        l2_cancel(v, in, o, VENUE_EV_CANCELED, BOOK_REASON_REDUCE_ONLY);
        return 0;
    }
    if (qty > o->leaves)
        qty = o->leaves;
    fill(v, in, o, o->price, qty, 0);
    if (o->leaves == 0) {
        own_remove(v, &in->own[o->side], o);
        own_free(v, o);
    } else if (o->shown == 0) {
        /* An iceberg's next peak goes to the back of the level. */
        const int64_t key = ladder_key(o->side, o->price);
        own_side *own = &in->own[o->side];
        const int64_t traded = o->traded;
        own_remove(v, own, o);
        o->shown = o->display_qty < o->leaves ? o->display_qty : o->leaves;
        o->ahead = (double)(ladder_get(&in->book.side[o->side], key) - overlay_get(&in->taken[o->side], key));
        o->traded = traded;
        own_insert(v, own, o);
    }
    return qty;
}

/* A print at our price: it uses up what is before us, then us, then what is before the next of ours. */
static void trade_at_level(venue *v, instrument *in, int side, int64_t key, int64_t printed, int64_t left)
{
    own_side *own = &in->own[side];
    int32_t at = own_after(own, key);
    while (at > 0 && own->key[at - 1] == key)
        at--;
    int64_t eaten = 0;
    int32_t count = own_after(own, key) - at; /* replenished icebergs go behind these and are not visited again */
    while (count-- > 0) {
        own_order *o = own_at(v, own, at);
        o->traded += printed;
        int64_t before = ahead_lots(in, o) - eaten;
        if (before < 0)
            before = 0;
        const int64_t uses = left < before ? left : before;
        eaten += uses;
        left -= uses;
        o->ahead = o->ahead > (double)eaten ? o->ahead - (double)eaten : 0.0;
        int64_t filled = lots_down(in, left);
        if (filled > o->shown)
            filled = o->shown;
        const own_order *const here = o;
        if (filled > 0)
            left -= fill_resting(v, in, o, filled);
        if (at < own->n && own_at(v, own, at) == here)
            at++;
    }
}

static void trade_side(venue *v, instrument *in, int side, const md_row *row)
{
    own_side *own = &in->own[side];
    const int64_t key = ladder_key(side, row->price);
    int64_t left = row->qty;
    /* A print through our price: the aggressor would have met us first, for as much as it printed. */
    while (own->best_key > key) {
        const int64_t qty = lots_down(in, left);
        if (qty == 0)
            return;
        left -= fill_resting(v, in, own_at(v, own, 0), qty);
    }
    if (own->best_key == key)
        trade_at_level(v, in, side, key, row->qty, left);
}

void l2_trade(venue *v, instrument *in, const md_row *row)
{
    in->last_price = row->price;
    in->has_last = 1;
    if (row->price < in->packet_low)
        in->packet_low = row->price;
    if (row->price > in->packet_high)
        in->packet_high = row->price;
    if (!continuous(in))
        return;
    /* An aggressor meets the other side; where the source does not say, the price decides. */
    if (row->side != MD_SIDE_BUY && in->own[0].n)
        trade_side(v, in, 0, row);
    if (row->side != MD_SIDE_SELL && in->own[1].n)
        trade_side(v, in, 1, row);
}

/* A recorded level at or through our price: its owner would have met us first, so it fills us at our price and is gone. */
static void cross_side(venue *v, instrument *in, int side)
{
    own_side *own = &in->own[side];
    while (own->n) {
        int64_t available;
        const int64_t key = available_next(in, side ^ 1, INT64_MAX, &available);
        if (key == LADDER_EMPTY || key < ~own->best_key)
            return;
        const int64_t filled = fill_resting(v, in, own_at(v, own, 0), available);
        if (filled)
            overlay_set(&in->taken[side ^ 1], key, overlay_get(&in->taken[side ^ 1], key) + filled);
    }
}

void l2_packet_end_own(venue *v, instrument *in)
{
    const int64_t low = in->packet_low, high = in->packet_high;
    if (!continuous(in))
        return; /* prints wait for the first packet of continuous trading to trigger stops */
    in->packet_low = INT64_MAX;
    in->packet_high = INT64_MIN;
    for (int side = 0; side < 2; side++)
        cross_side(v, in, side);
    for (int32_t at = 0; low <= high && at < in->n_parked;) {
        own_order *o = &v->orders[in->parked[at]];
        if (stop_reached(in, o, low, high))
            trigger(v, in, o);
        else
            at++;
    }
}

static int level_set(venue *v, instrument *in, int side, int64_t key, int64_t qty)
{
    int64_t before;
    const int code = ladder_set(&in->book.side[side], key, qty, &before);
    if (code == LADDER_OK && (in->own[side].n || in->taken[side].n))
        l2_level_own(v, in, side, key, before, qty);
    return code;
}

/* As depth_bbo does for our view, with what it means for our orders. */
int l2_bbo(venue *v, instrument *in, const md_row *row)
{
    const int side = row->side;
    ladder *l = &in->book.side[side];
    const int64_t key = ladder_key(side, row->price);
    const bool replaces = row->qty == 0 || !in->book.levels_seen[side];
    int64_t qty;
    for (int64_t at = l->best_key; at != LADDER_EMPTY && (replaces || at > key); at = ladder_next(l, at, &qty))
        if (row->qty == 0 || at != key)
            level_set(v, in, side, at, 0);
    return row->qty ? level_set(v, in, side, key, row->qty) : LADDER_OK;
}

/* The book starts again: what we took is history, queue positions wait for the new levels. */
void l2_clear(venue *v, instrument *in)
{
    for (int side = 0; side < 2; side++) {
        ladder_clear(&in->book.side[side]);
        in->taken[side].n = 0;
        in->book.levels_seen[side] = 0;
        for (int32_t at = 0; at < in->own[side].n; at++)
            own_at(v, &in->own[side], at)->traded = 0;
    }
    in->gap = 0;
}
