/* venue_gateway.c: commands on their way to the venue, what they find there, and answers on their way back.
 *
 * Both ways are first in, first out: a message never overtakes an earlier one of the same way, whatever the latency model drew
 * (it arrives together with the earlier one at the earliest), as on one TCP session.
 */

#include "venue_internal.h"

#include <string.h>

/* ---- Own orders by client_order_id ---- */

static uint32_t hash_id(const venue *v, int64_t id)
{
    uint64_t x = (uint64_t)id;
    x ^= x >> 32;
    return (uint32_t)((x * 0x9E3779B97F4A7C15u) >> 32) & v->order_mask;
}

own_order *own_find(const venue *v, int64_t id)
{
    for (uint32_t slot = hash_id(v, id); v->order_table[slot]; slot = (slot + 1) & v->order_mask) {
        own_order *o = &v->orders[v->order_table[slot] - 1];
        if (o->id == id)
            return o;
    }
    return NULL;
}

static void expiry_set(venue *v)
{
    v->expiry_ts = v->timed_ts < v->day_ts ? v->timed_ts : v->day_ts;
}

/* The first end of a day after ts: what arrives at that very time belongs to the next day. */
static int64_t day_end_after(const venue *v, int64_t ts)
{
    const int64_t day_ns = v->config.day_ns;
    int64_t into = (ts % day_ns - v->config.day_end_offset_ns) % day_ns;
    if (into < 0)
        into += day_ns;
    return ts > VENUE_TIME_MAX - day_ns ? VENUE_TIME_MAX : ts - into + day_ns;
}

/* Room was promised when the command was taken: venue_submit counts orders alive and in flight. */
own_order *own_new(venue *v, const venue_order *order)
{
    const int32_t index = v->free_order;
    own_order *o = &v->orders[index];
    v->free_order = o->next;
    v->n_orders++;
    *o = (own_order){.id = order->client_order_id, .price = order->price, .trigger_price = order->trigger_price,
                     .leaves = order->qty, .shown = order->qty, .expire_ts = VENUE_TIME_MAX, .instrument = order->instrument,
                     .next = -1, .state = OWN_ENTERING, .side = order->side, .order_type = order->order_type,
                     .time_in_force = order->time_in_force, .flags = order->flags};
    if (order->display_qty > 0 && order->display_qty < order->qty) {
        o->display_qty = order->display_qty;
        o->shown = order->display_qty;
    }
    if (order->time_in_force == BOOK_TIF_GTD) {
        o->expire_ts = order->expire_ts;
        if (order->expire_ts < v->timed_ts)
            v->timed_ts = order->expire_ts;
        expiry_set(v);
    } else if (order->time_in_force == BOOK_TIF_DAY && v->config.day_ns) {
        if (v->n_day++ == 0)
            v->day_ts = day_end_after(v, v->clock_venue);
        o->expire_ts = v->day_ts; /* whoever came earlier and is still here ends then too */
        expiry_set(v);
    }
    uint32_t slot = hash_id(v, o->id);
    while (v->order_table[slot])
        slot = (slot + 1) & v->order_mask;
    v->order_table[slot] = index + 1;
    return o;
}

static void timed_scan(venue *v)
{
    v->timed_ts = VENUE_TIME_MAX;
    for (int64_t i = 0; i < v->config.orders_max; i++) {
        const own_order *o = &v->orders[i];
        if (o->state != OWN_FREE && o->time_in_force == BOOK_TIF_GTD && o->expire_ts < v->timed_ts)
            v->timed_ts = o->expire_ts;
    }
}

void own_free(venue *v, own_order *o)
{
    const int32_t index = (int32_t)(o - v->orders);
    uint32_t hole = hash_id(v, o->id);
    while (v->order_table[hole] != index + 1)
        hole = (hole + 1) & v->order_mask;
    /* Deletion by moving back keeps every probe unbroken without tombstones. */
    for (uint32_t slot = (hole + 1) & v->order_mask; v->order_table[slot]; slot = (slot + 1) & v->order_mask) {
        const uint32_t home = hash_id(v, v->orders[v->order_table[slot] - 1].id);
        if (((slot - home) & v->order_mask) >= ((slot - hole) & v->order_mask)) {
            v->order_table[hole] = v->order_table[slot];
            hole = slot;
        }
    }
    v->order_table[hole] = 0;
    const bool is_day = o->time_in_force == BOOK_TIF_DAY;
    const bool was_next_timed = !is_day && o->expire_ts == v->timed_ts && o->expire_ts != VENUE_TIME_MAX;
    o->state = OWN_FREE;
    o->expire_ts = VENUE_TIME_MAX;
    o->next = v->free_order;
    v->free_order = index;
    v->n_orders--;
    if (was_next_timed)
        timed_scan(v);
    if (is_day && v->config.day_ns && --v->n_day == 0)
        v->day_ts = VENUE_TIME_MAX;
    expiry_set(v);
}

/* ---- Answers ---- */

void answer_put(venue *v, int32_t instrument, int64_t kind, int64_t id, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e)
{
    event_ring *ring = &v->answers;
    if (VENUE_UNLIKELY(ring_count(ring->head, ring->tail) > ring->mask)) {
        v->error = VENUE_ERR_FULL;
        return;
    }
    int64_t visible_ts = v->clock_venue + latency_response_ns(&v->latency, v->clock_venue);
    /* A late row of a live feed fills at a time that the local clock has passed: it is told now. */
    if (VENUE_UNLIKELY(visible_ts < v->clock_local))
        visible_ts = v->clock_local;
    if (visible_ts < v->answer_last_ts)
        visible_ts = v->answer_last_ts;
    v->answer_last_ts = visible_ts;
    if (ring->head == ring->tail)
        v->answer_ts = visible_ts;
    ring->items[ring->tail++ & ring->mask] =
        (venue_event){.ts_init = visible_ts, .ts_event = v->clock_venue, .kind = kind, .instrument = instrument, .order_id = id,
                      .a = a, .b = b, .c = c, .d = d, .e = e};
    if (kind == VENUE_EV_FILL)
        v->totals.fills++;
}

/* ---- What the venue says no to before its book sees it ---- */

static bool on_grid(int64_t value, int64_t step)
{
    return step == 1 || value % step == 0;
}

static int price_reason(const venue_instrument *rules, int64_t price)
{
    if (price < rules->price_min || price > rules->price_max)
        return BOOK_REASON_BAD_PRICE;
    return on_grid(price, rules->tick) ? BOOK_REASON_NONE : BOOK_REASON_BAD_TICK;
}

static int qty_reason(const venue_instrument *rules, int64_t qty)
{
    if (qty < rules->qty_min || qty > rules->qty_max || qty <= 0 || !on_grid(qty, rules->lot))
        return BOOK_REASON_BAD_QTY;
    return BOOK_REASON_NONE;
}

/* The same rules as the book's own (book_submit.c), so that both fidelities refuse alike. */
static bool fields_contradict(const venue *v, const venue_order *o)
{
    const bool market = o->order_type == BOOK_TYPE_MARKET || o->order_type == BOOK_TYPE_STOP;
    const bool at_once = o->time_in_force == BOOK_TIF_IOC || o->time_in_force == BOOK_TIF_FOK;
    const uint8_t passive = o->flags & (BOOK_FLAG_POST_ONLY | BOOK_FLAG_POST_ONLY_SLIDE);
    if (o->side > BOOK_SIDE_SELL || o->order_type > BOOK_TYPE_STOP_LIMIT || o->time_in_force > BOOK_TIF_GTD || o->flags > 7)
        return true; /* BOOK_TIF_OPG too: a tape's auctions cannot be uncrossed without the orders that were in them */
    if (passive && (market || at_once || passive == (BOOK_FLAG_POST_ONLY | BOOK_FLAG_POST_ONLY_SLIDE)))
        return true;
    if ((o->flags & BOOK_FLAG_REDUCE_ONLY) && o->display_qty > 0 && o->display_qty < o->qty)
        return true;
    return o->time_in_force == BOOK_TIF_GTD && (o->expire_ts <= v->clock_venue || o->order_type == BOOK_TYPE_MARKET);
}

static bool is_closed(const instrument *in, const venue_order *o)
{
    if (in->status == MD_STATUS_TRADING)
        return false;
    if (in->status != MD_STATUS_AUCTION)
        return true;
    const bool at_once = o->order_type == BOOK_TYPE_MARKET || o->time_in_force == BOOK_TIF_IOC || o->time_in_force == BOOK_TIF_FOK;
    return at_once && o->order_type != BOOK_TYPE_STOP && o->order_type != BOOK_TYPE_STOP_LIMIT;
}

/* Why a new order is refused before the book is asked; the first reason in this order is the one told. */
int own_reason(const venue *v, const instrument *in, const venue_order *o)
{
    const venue_instrument *rules = &in->rules;
    int reason = BOOK_REASON_NONE;
    if (fields_contradict(v, o))
        return BOOK_REASON_BAD_FIELD;
    if (own_find(v, o->client_order_id))
        return BOOK_REASON_DUPLICATE_ID;
    if (is_closed(in, o))
        return BOOK_REASON_CLOSED;
    if ((reason = qty_reason(rules, o->qty)))
        return reason;
    if (o->display_qty < 0 || (o->display_qty < o->qty && !on_grid(o->display_qty, rules->lot)))
        return BOOK_REASON_BAD_QTY;
    if ((o->order_type == BOOK_TYPE_LIMIT || o->order_type == BOOK_TYPE_STOP_LIMIT) && (reason = price_reason(rules, o->price)))
        return reason;
    if ((o->order_type == BOOK_TYPE_STOP || o->order_type == BOOK_TYPE_STOP_LIMIT) && price_reason(rules, o->trigger_price))
        return BOOK_REASON_BAD_TRIGGER;
    return BOOK_REASON_NONE;
}

/* ---- Arrivals ---- */

static void arrive_submit(venue *v, const venue_order *order)
{
    instrument *in = &v->instruments[order->instrument];
    v->totals.orders++;
    int reason = own_reason(v, in, order);
    if (!reason && v->config.reject_per_million
        && random_next(&v->random_reject) % 1000000 < (uint64_t)v->config.reject_per_million)
        reason = BOOK_REASON_SIMULATED_REJECT;
    if (reason) {
        answer_put(v, in->index, VENUE_EV_REJECTED, order->client_order_id, reason, 0, 0, 0, 0);
        return;
    }
    if (in->l3)
        l3_submit(v, in, order);
    else
        l2_submit(v, in, order);
}

static void arrive_cancel(venue *v, const venue_order *order)
{
    own_order *o = own_find(v, order->client_order_id);
    v->totals.cancels++;
    if (!o) {
        answer_put(v, -1, VENUE_EV_CANCEL_REJECTED, order->client_order_id, BOOK_REASON_UNKNOWN_ORDER, 0, 0, 0, 0);
        return;
    }
    instrument *in = &v->instruments[o->instrument];
    if (in->l3)
        l3_cancel(v, in, o);
    else
        l2_cancel(v, in, o, VENUE_EV_CANCELED, BOOK_REASON_REQUESTED);
}

static void arrive_replace(venue *v, const venue_order *order)
{
    own_order *o = own_find(v, order->client_order_id);
    v->totals.replaces++;
    if (!o) {
        answer_put(v, -1, VENUE_EV_REPLACE_REJECTED, order->client_order_id, BOOK_REASON_UNKNOWN_ORDER, 0, 0, 0, 0);
        return;
    }
    instrument *in = &v->instruments[o->instrument];
    const bool priced = o->order_type == BOOK_TYPE_LIMIT || o->order_type == BOOK_TYPE_STOP_LIMIT;
    int reason = in->status == MD_STATUS_HALTED || in->status == MD_STATUS_CLOSED ? BOOK_REASON_CLOSED : BOOK_REASON_NONE;
    /* A fill that crossed the replace on its way comes off the new quantity: the sender meant a total. */
    const int64_t crossed = order->filled_qty < 0 ? 0 : o->filled - order->filled_qty;
    const int64_t qty = crossed < 0 || crossed >= order->qty ? 0 : order->qty - crossed;
    if (!reason)
        reason = qty_reason(&in->rules, qty);
    if (!reason && priced)
        reason = price_reason(&in->rules, order->price);
    if (!reason && qty == o->leaves && (!priced || order->price == o->price))
        reason = BOOK_REASON_NO_CHANGE;
    if (reason) {
        answer_put(v, in->index, VENUE_EV_REPLACE_REJECTED, o->id, reason, 0, 0, 0, 0);
        return;
    }
    if (in->l3)
        l3_replace(v, in, o, qty, priced ? order->price : o->price);
    else
        l2_replace(v, in, o, qty, priced ? order->price : o->price);
}

/* Why orders leave without being asked for one by one. */
typedef enum { LEAVE_ALL, LEAVE_DAY, LEAVE_EXPIRED } leave_rule;

static bool leaves(const own_order *o, leave_rule rule, int64_t ts)
{
    return rule == LEAVE_ALL || (rule == LEAVE_DAY ? o->time_in_force == BOOK_TIF_DAY : o->expire_ts <= ts);
}

/* Bids best first, then asks, then stops in order of arrival: the order of a mass cancel is part of the run. */
static void l2_leave(venue *v, instrument *in, leave_rule rule, int64_t ts)
{
    const int64_t kind = rule == LEAVE_ALL ? VENUE_EV_CANCELED : VENUE_EV_EXPIRED;
    const int64_t reason = rule == LEAVE_ALL ? BOOK_REASON_MASS_CANCEL : BOOK_REASON_NONE;
    for (int side = 0; side < 2; side++)
        for (int32_t at = 0; at < in->own[side].n;) {
            own_order *o = own_at(v, &in->own[side], at);
            if (leaves(o, rule, ts))
                l2_cancel(v, in, o, kind, reason);
            else
                at++;
        }
    for (int32_t at = 0; at < in->n_parked;) {
        own_order *o = &v->orders[in->parked[at]];
        if (leaves(o, rule, ts))
            l2_cancel(v, in, o, kind, reason);
        else
            at++;
    }
}

static void leave_where(venue *v, int32_t instrument_only, leave_rule rule, int64_t ts)
{
    for (int32_t i = 0; i < v->n_instruments; i++) {
        instrument *in = &v->instruments[i];
        if (instrument_only >= 0 && i != instrument_only)
            continue;
        if (!in->l3)
            l2_leave(v, in, rule, ts);
        else if (rule == LEAVE_ALL)
            l3_mass_cancel(v, in);
        else if (rule == LEAVE_DAY)
            l3_end_of_day(v, in);
        else
            l3_expire(v, in, ts);
    }
}

void venue_expire(venue *v, int64_t ts)
{
    leave_where(v, -1, LEAVE_EXPIRED, ts);
}

void venue_command_arrive(venue *v)
{
    command_ring *ring = &v->commands;
    const command *c = &ring->items[ring->head++ & ring->mask];
    v->command_ts = ring->head == ring->tail ? VENUE_TIME_MAX : ring->items[ring->head & ring->mask].arrival_ts;
    switch (c->kind) {
    case COMMAND_SUBMIT:
        v->submits_in_flight--;
        arrive_submit(v, &c->order);
        break;
    case COMMAND_CANCEL:
        arrive_cancel(v, &c->order);
        break;
    case COMMAND_REPLACE:
        arrive_replace(v, &c->order);
        break;
    default:
        v->totals.cancels++;
        leave_where(v, c->order.instrument, LEAVE_ALL, 0);
        break;
    }
    /* Only now: `c` lies in it. */
    if (ring->head == ring->tail)
        ring_rewind(&ring->head, &ring->tail);
}

/* ---- The trader's side ---- */

static int command_put(venue *v, int32_t kind, const venue_order *order)
{
    command_ring *ring = &v->commands;
    if (VENUE_UNLIKELY(ring_count(ring->head, ring->tail) > ring->mask))
        return VENUE_ERR_FULL;
    const int64_t now = v->clock_local != INT64_MIN ? v->clock_local : v->start_ts;
    if (now == INT64_MIN)
        return VENUE_ERR_TIME; /* nobody knows yet when the run begins */
    int64_t arrival_ts = now + latency_entry_ns(&v->latency, now);
    if (arrival_ts < v->arrival_last_ts)
        arrival_ts = v->arrival_last_ts;
    v->arrival_last_ts = arrival_ts;
    if (ring->head == ring->tail)
        v->command_ts = arrival_ts;
    command *c = &ring->items[ring->tail++ & ring->mask];
    c->arrival_ts = arrival_ts;
    c->kind = kind;
    c->order = *order;
    return VENUE_OK;
}

int venue_submit(venue *v, const venue_order *order)
{
    if (!v || !order || order->client_order_id <= 0 || order->instrument < 0 || order->instrument >= v->n_instruments)
        return VENUE_ERR_ARGUMENT;
    if (v->n_orders + v->submits_in_flight >= v->config.orders_max)
        return VENUE_ERR_FULL;
    const int code = command_put(v, COMMAND_SUBMIT, order);
    v->submits_in_flight += code == VENUE_OK;
    return code;
}

/* side_tif_flags: side | time_in_force << 8 | flags << 16. */
int venue_submit_limit(venue *v, int32_t instrument, int64_t client_order_id, int side_tif_flags, int64_t price, int64_t qty)
{
    const venue_order order = {.client_order_id = client_order_id, .price = price, .qty = qty, .instrument = instrument,
                               .side = (uint8_t)side_tif_flags, .order_type = BOOK_TYPE_LIMIT,
                               .time_in_force = (uint8_t)(side_tif_flags >> 8), .flags = (uint8_t)(side_tif_flags >> 16)};
    return venue_submit(v, &order);
}

int venue_cancel(venue *v, int64_t client_order_id)
{
    const venue_order order = {.client_order_id = client_order_id};
    return v && client_order_id > 0 ? command_put(v, COMMAND_CANCEL, &order) : VENUE_ERR_ARGUMENT;
}

int venue_replace(venue *v, int64_t client_order_id, int64_t qty, int64_t filled_qty, int64_t price)
{
    const venue_order order = {.client_order_id = client_order_id, .qty = qty, .filled_qty = filled_qty, .price = price};
    return v && client_order_id > 0 ? command_put(v, COMMAND_REPLACE, &order) : VENUE_ERR_ARGUMENT;
}

int venue_mass_cancel(venue *v, int32_t instrument)
{
    const venue_order order = {.instrument = instrument};
    if (!v || instrument < -1 || instrument >= v->n_instruments)
        return VENUE_ERR_ARGUMENT;
    return command_put(v, COMMAND_MASS_CANCEL, &order);
}

int venue_end_of_day(venue *v, int32_t instrument)
{
    if (!v || instrument < -1 || instrument >= v->n_instruments)
        return VENUE_ERR_ARGUMENT;
    if (v->clock_venue < v->clock_local)
        v->clock_venue = v->clock_local;
    leave_where(v, instrument, LEAVE_DAY, 0);
    return v->error;
}

int venue_position_set(venue *v, int32_t index, int64_t position)
{
    if (!v || index < 0 || index >= v->n_instruments || position > VENUE_QTY_LIMIT || position < -VENUE_QTY_LIMIT)
        return VENUE_ERR_ARGUMENT;
    instrument *in = &v->instruments[index];
    if (in->l3 && book_position_set(in->l3->book, OWN_OWNER, 0, position) != BOOK_OK)
        return VENUE_ERR_ARGUMENT;
    in->position = position;
    return VENUE_OK;
}

/* ---- Timers: a binary heap by (ts, order of setting) ---- */

static bool timer_before(const timer *a, const timer *b)
{
    return a->ts != b->ts ? a->ts < b->ts : a->sequence < b->sequence;
}

static void timer_sift_up(venue *v, int64_t at)
{
    const timer t = v->timers[at];
    while (at > 0 && timer_before(&t, &v->timers[(at - 1) / 2])) {
        v->timers[at] = v->timers[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    v->timers[at] = t;
}

static void timer_sift_down(venue *v, int64_t at)
{
    const timer t = v->timers[at];
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= v->n_timers)
            break;
        if (child + 1 < v->n_timers && timer_before(&v->timers[child + 1], &v->timers[child]))
            child++;
        if (!timer_before(&v->timers[child], &t))
            break;
        v->timers[at] = v->timers[child];
        at = child;
    }
    v->timers[at] = t;
}

static void timer_remove(venue *v, int64_t at)
{
    v->n_timers--;
    if (at < v->n_timers) {
        v->timers[at] = v->timers[v->n_timers];
        timer_sift_down(v, at);
        timer_sift_up(v, at);
    }
    v->timer_ts = v->n_timers ? v->timers[0].ts : VENUE_TIME_MAX;
}

void timer_pop(venue *v)
{
    timer_remove(v, 0);
}

int venue_timer_cancel(venue *v, int64_t timer_id)
{
    if (!v)
        return VENUE_ERR_ARGUMENT;
    for (int64_t i = 0; i < v->n_timers; i++)
        if (v->timers[i].id == timer_id) {
            timer_remove(v, i);
            return VENUE_OK;
        }
    return VENUE_ERR_ARGUMENT;
}

/* Setting a timer that is already set moves it. */
int venue_timer(venue *v, int64_t ts, int64_t timer_id)
{
    if (!v)
        return VENUE_ERR_ARGUMENT;
    if (ts < v->clock_local)
        return VENUE_ERR_TIME;
    venue_timer_cancel(v, timer_id);
    if (v->n_timers >= v->config.timers_max)
        return VENUE_ERR_FULL;
    v->timers[v->n_timers] = (timer){.ts = ts, .id = timer_id, .sequence = v->timer_sequence++};
    timer_sift_up(v, v->n_timers++);
    v->timer_ts = v->timers[0].ts;
    return VENUE_OK;
}
