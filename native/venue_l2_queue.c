/* venue_l2_queue.c: where our orders stand among recorded levels: what we took, our orders by price, queue positions. */

#include "venue_l2.h"

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

void overlay_set(overlay *o, int64_t key, int64_t qty)
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

/* The best recorded level worse than `key` with a whole lot left that we did not take; INT64_MAX starts at the best. */
int64_t available_next(const instrument *in, int side, int64_t key, int64_t *qty)
{
    do {
        key = ladder_next(&in->book.side[side], key, qty);
        *qty = lots_down(in, *qty - overlay_get(&in->taken[side], key));
    } while (key != LADDER_EMPTY && *qty <= 0);
    return key;
}

/* ---- Own orders by price ---- */

/* First index with a key worse than `key`: where a new order at `key` goes. */
int32_t own_after(const own_side *s, int64_t key)
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

void own_insert(venue *v, own_side *s, own_order *o)
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

void own_remove(venue *v, own_side *s, const own_order *o)
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

void parked_remove(venue *v, instrument *in, const own_order *o)
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
int64_t ahead_lots(const instrument *in, const own_order *o)
{
    int64_t qty = (int64_t)o->ahead;
    qty += (double)qty < o->ahead;
    const int64_t rest = qty % in->rules.lot;
    return rest ? qty + in->rules.lot - rest : qty;
}

/* Puts a fill on an order: the caller takes it away when nothing is left. */
void l2_fill(venue *v, instrument *in, own_order *o, int64_t price, int64_t qty, int64_t taker)
{
    o->leaves -= qty;
    o->filled += qty;
    o->shown -= qty < o->shown ? qty : o->shown;
    in->position += o->side == BOOK_SIDE_BUY ? qty : -qty;
    answer_put(v, in->index, VENUE_EV_FILL, o->id, price, qty, o->leaves, taker | (o->side << 1), ++v->execution_id);
}

/* How much a reduce-only order on this side may still trade. */
int64_t reducible(const instrument *in, int side)
{
    const int64_t opposed = side == BOOK_SIDE_BUY ? -in->position : in->position;
    return opposed > 0 ? opposed : 0;
}

/* Holds a reduce-only order to the position. False: nothing may be left and the caller cancels it. */
bool reduce_only_fits(venue *v, instrument *in, own_order *o)
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
