/* venue_check.c: views of the books, and every invariant of a venue checked slowly. */

#include "venue_internal.h"

static instrument *instrument_at(const venue *v, int32_t index, int side)
{
    return v && index >= 0 && index < v->n_instruments && (side == 0 || side == 1) ? &v->instruments[index] : NULL;
}

static int64_t depth_copy(const ladder *l, const overlay *taken, book_level *out, int64_t cap)
{
    int64_t n = 0, qty;
    for (int64_t key = ladder_next(l, INT64_MAX, &qty); key != LADDER_EMPTY && n < cap; key = ladder_next(l, key, &qty)) {
        if (taken)
            qty -= overlay_get(taken, key);
        if (qty > 0)
            out[n++] = (book_level){.price = ladder_key(l->side, key), .qty = qty};
    }
    return n;
}

int64_t venue_depth(const venue *v, int32_t index, int side, book_level *out, int64_t cap)
{
    const instrument *in = instrument_at(v, index, side);
    if (!in || cap < 0 || (cap && !out))
        return VENUE_ERR_ARGUMENT;
    return depth_copy(&in->local.side[side], NULL, out, cap);
}

int64_t venue_depth_at_venue(const venue *v, int32_t index, int side, book_level *out, int64_t cap)
{
    const instrument *in = instrument_at(v, index, side);
    if (!in || cap < 0 || (cap && !out))
        return VENUE_ERR_ARGUMENT;
    if (in->l3)
        return l3_depth(in, side, out, cap);
    return depth_copy(&in->book.side[side], &in->taken[side], out, cap);
}

int64_t venue_queue_ahead(const venue *v, int64_t client_order_id)
{
    const own_order *o = v ? own_find(v, client_order_id) : NULL;
    if (!o || o->state != OWN_RESTING)
        return -1;
    if (v->instruments[o->instrument].l3)
        return l3_queue_ahead(v, &v->instruments[o->instrument], o);
    const int64_t whole = (int64_t)o->ahead;
    return whole + ((double)whole < o->ahead);
}

static bool own_order_fits(const venue *v, const instrument *in, const own_order *o, int state)
{
    return o->state == state && o->instrument == in->index && o->leaves > 0 && o->shown > 0 && o->shown <= o->leaves
        && own_find(v, o->id) == o && o->expire_ts >= v->expiry_ts && o->ahead >= 0.0 && o->traded >= 0;
}

static bool side_fits(const venue *v, const instrument *in, int side)
{
    const own_side *own = &in->own[side];
    if (ladder_check(&in->local.side[side]) != LADDER_OK || ladder_check(&in->book.side[side]) != LADDER_OK)
        return false;
    if (own->best_key != (own->n ? own->key[0] : LADDER_EMPTY))
        return false;
    for (int32_t i = 0; i < own->n; i++) {
        const own_order *o = own_at(v, own, i);
        if (!own_order_fits(v, in, o, OWN_RESTING) || o->side != side || own->key[i] != ladder_key(side, o->price)
            || (i && own->key[i] > own->key[i - 1]))
            return false;
    }
    const overlay *taken = &in->taken[side];
    for (int32_t i = 0; i < taken->n; i++)
        if (taken->qty[i] <= 0 || taken->qty[i] > ladder_get(&in->book.side[side], taken->key[i])
            || (i && taken->key[i] >= taken->key[i - 1]))
            return false;
    return true;
}

static bool rings_fit(const venue *v)
{
    const int64_t command_ts =
        v->commands.head == v->commands.tail ? VENUE_TIME_MAX : v->commands.items[v->commands.head & v->commands.mask].arrival_ts;
    const int64_t answer_ts =
        v->answers.head == v->answers.tail ? VENUE_TIME_MAX : v->answers.items[v->answers.head & v->answers.mask].ts_init;
    int64_t submits = 0;
    for (uint64_t i = v->commands.head; i != v->commands.tail; i++) {
        const command *c = &v->commands.items[i & v->commands.mask];
        submits += c->kind == COMMAND_SUBMIT;
        if (i + 1 != v->commands.tail && v->commands.items[(i + 1) & v->commands.mask].arrival_ts < c->arrival_ts)
            return false;
    }
    for (uint64_t i = v->answers.head; i + 1 < v->answers.tail; i++)
        if (v->answers.items[(i + 1) & v->answers.mask].ts_init < v->answers.items[i & v->answers.mask].ts_init)
            return false;
    return command_ts == v->command_ts && answer_ts == v->answer_ts && submits == v->submits_in_flight;
}

static bool timers_fit(const venue *v)
{
    for (int64_t i = 1; i < v->n_timers; i++)
        if (v->timers[i].ts < v->timers[(i - 1) / 2].ts)
            return false;
    return v->timer_ts == (v->n_timers ? v->timers[0].ts : VENUE_TIME_MAX);
}

/* VENUE_OK, or VENUE_ERR_ARGUMENT for a broken invariant (or no venue). */
int venue_check(const venue *v)
{
    if (!v || !rings_fit(v) || !timers_fit(v) || v->row_local > v->row_local_end || v->row_venue > v->row_end)
        return VENUE_ERR_ARGUMENT;
    int64_t live = 0, n_day = 0, expiry_ts = VENUE_TIME_MAX, quote_due = VENUE_TIME_MAX;
    for (int32_t i = 0; i < v->n_instruments; i++) {
        const instrument *in = &v->instruments[i];
        if (in->quote_due < quote_due)
            quote_due = in->quote_due;
        for (int side = 0; side < 2; side++) {
            if (!side_fits(v, in, side))
                return VENUE_ERR_ARGUMENT;
            live += in->own[side].n;
        }
        for (int32_t at = 0; at < in->n_parked; at++)
            if (!own_order_fits(v, in, &v->orders[in->parked[at]], OWN_PARKED))
                return VENUE_ERR_ARGUMENT;
        live += in->n_parked;
        if (in->l3) {
            if (!l3_check(v, in))
                return VENUE_ERR_ARGUMENT;
            live += in->l3->n_own;
        }
        /* No order of ours may stand against another of ours. */
        if (in->own[0].n && in->own[1].n && in->own[0].best_key >= ~in->own[1].best_key)
            return VENUE_ERR_ARGUMENT;
    }
    for (int64_t i = 0; i < v->config.orders_max; i++) {
        const own_order *o = &v->orders[i];
        if (o->state == OWN_FREE)
            continue;
        if (o->expire_ts < expiry_ts)
            expiry_ts = o->expire_ts;
        const bool is_day = v->config.day_ns && o->time_in_force == BOOK_TIF_DAY;
        n_day += is_day;
        if (is_day && o->expire_ts != v->day_ts)
            return VENUE_ERR_ARGUMENT;
    }
    return live == v->n_orders && n_day == v->n_day && expiry_ts == v->expiry_ts && quote_due == v->quote_due ? VENUE_OK : VENUE_ERR_ARGUMENT;
}
