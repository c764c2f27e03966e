/* venue.c: the two clocks, the tape, and the filter that decides when the trader wakes.
 *
 * What happens first, when several things happen at one nanosecond:
 *  1. The venue's side comes first, all of it: orders that expire at that time, then rows of the tape in file order, then commands in
 *     the order they were sent. So a recorded change at the time our order arrives is there before our order.
 *  2. Then the local side: answers of the venue, then rows in file order (a packet may wake the trader), then timers, then quotes that
 *     the throttle held back. So a fill is known before the quote of the packet that caused it.
 *  3. What the trader sends at a wake-up at that time reaches the venue after all of 1.
 * A wake-up returns at once: what lies behind it, even at the same nanosecond, comes with the next.
 *
 * Neither clock passes the last row fed (venue_horizon, venue_finish lift this): more rows of the same nanosecond may follow, and a run
 * must not depend on how its tape was cut into feeds. A later row whose ts_event lies before the venue's clock (live feeds: horizon went
 * on) is applied late, at the venue's clock.
 */

#include "venue_internal.h"
#include "venue_depth.h"

#include <stdlib.h>
#include <string.h>

/* ---- Making and freeing ---- */

static uint64_t power_of_two(uint64_t at_least)
{
    uint64_t n = 16;
    while (n < at_least)
        n *= 2;
    return n;
}

venue *venue_new(const venue_config *config)
{
    if (!config || config->orders_max < 1 || config->orders_max > VENUE_ORDERS_LIMIT || config->timers_max < 1
        || config->timers_max > VENUE_ORDERS_LIMIT || config->instruments_max < 1 || config->instruments_max > 65536
        || config->feed_latency_ns < 0 || config->stp_mode < BOOK_STP_NONE || config->stp_mode > BOOK_STP_DECREMENT
        || config->reject_per_million < 0 || config->reject_per_million > 1000000)
        return NULL;
    venue *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    v->config = *config;
    const uint64_t orders = (uint64_t)config->orders_max;
    v->commands.mask = power_of_two(4 * orders + 64) - 1;
    v->answers.mask = v->inbox.mask = power_of_two(16 * orders + 4096) - 1;
    v->order_mask = (uint32_t)power_of_two(2 * orders) - 1;
    v->commands.items = calloc(v->commands.mask + 1, sizeof *v->commands.items);
    v->answers.items = calloc(v->answers.mask + 1, sizeof *v->answers.items);
    v->inbox.items = calloc(v->inbox.mask + 1, sizeof *v->inbox.items);
    v->feed.mask = 1023;
    v->feed.items = calloc(v->feed.mask + 1, sizeof *v->feed.items);
    v->orders = calloc(orders, sizeof *v->orders);
    v->order_table = calloc(v->order_mask + 1, sizeof *v->order_table);
    v->timers = calloc((size_t)config->timers_max, sizeof *v->timers);
    v->instruments = calloc((size_t)config->instruments_max, sizeof *v->instruments);
    if (!v->commands.items || !v->answers.items || !v->inbox.items || !v->feed.items || !v->orders || !v->order_table || !v->timers || !v->instruments
        || latency_init(&v->latency, &config->latency) != VENUE_OK) {
        venue_free(v);
        return NULL;
    }
    v->config.latency.table = NULL;
    for (int64_t i = 0; i < config->orders_max; i++)
        v->orders[i].next = i + 1 < config->orders_max ? (int32_t)(i + 1) : -1;
    v->command_ts = v->answer_ts = v->feed_ts = v->timer_ts = v->quote_due = v->expiry_ts = VENUE_TIME_MAX;
    v->clock_local = v->clock_venue = v->answer_last_ts = v->arrival_last_ts = v->feed_last_ts = INT64_MIN;
    v->tape_ts_event = v->tape_ts_init = v->safe_ts = INT64_MIN;
    v->error_row = -1;
    random_seed(&v->random_reject, config->latency.seed, RANDOM_STREAM_REJECT);
    return v;
}

static void instrument_free(instrument *in)
{
    for (int side = 0; side < 2; side++) {
        ladder_free(&in->local.side[side]);
        ladder_free(&in->book.side[side]);
        free(in->own[side].key);
        free(in->own[side].index);
        free(in->taken[side].key);
        free(in->taken[side].qty);
    }
    free(in->parked);
    l3_free(in->l3);
}

void venue_free(venue *v)
{
    if (!v)
        return;
    for (int32_t i = 0; v->instruments && i < v->n_instruments; i++)
        instrument_free(&v->instruments[i]);
    free(v->instruments);
    free(v->commands.items);
    free(v->answers.items);
    free(v->inbox.items);
    free(v->feed.items);
    free(v->orders);
    free(v->order_table);
    free(v->timers);
    free(v->carry);
    free(v->latency.table);
    free(v);
}

static bool instrument_fits(const venue_instrument *r)
{
    const int64_t price_max = LADDER_PRICE_LIMIT;
    /* Written so that NaN fails. */
    const bool power_fits = r->queue_model != VENUE_QUEUE_POWER || (r->queue_power > 0.0 && r->queue_power <= 16.0);
    return r->tick > 0 && r->tick <= price_max / LADDER_SLOTS && r->lot > 0 && r->lot <= VENUE_QTY_LIMIT && r->qty_min > 0
        && r->qty_min <= r->qty_max && r->qty_max <= VENUE_QTY_LIMIT && r->price_min <= r->price_max && r->price_min > -price_max
        && r->price_max < price_max && r->levels_max >= 1 && r->levels_max <= VENUE_ORDERS_LIMIT && r->fidelity >= VENUE_L2
        && r->fidelity <= VENUE_FLOW && r->queue_model >= VENUE_QUEUE_RISK_AVERSE && r->queue_model <= VENUE_QUEUE_LOG && power_fits
        && r->wake >= 0 && r->wake < 64 && r->wake_interval_ns >= 0;
}

int venue_instrument_add(venue *v, const venue_instrument *rules)
{
    if (!v || !rules || !instrument_fits(rules))
        return VENUE_ERR_ARGUMENT;
    if (v->n_instruments >= v->config.instruments_max)
        return VENUE_ERR_FULL;
    instrument *in = &v->instruments[v->n_instruments];
    const size_t orders = (size_t)v->config.orders_max, levels = (size_t)rules->levels_max;
    memset(in, 0, sizeof *in);
    in->rules = *rules;
    in->index = v->n_instruments;
    in->wake = rules->wake;
    in->quote_ts = INT64_MIN / 2;
    in->quote_due = VENUE_TIME_MAX;
    in->packet_low = INT64_MAX;
    in->packet_high = INT64_MIN;
    in->parked = calloc(orders, sizeof *in->parked);
    bool fits = in->parked != NULL;
    for (int side = 0; side < 2; side++) {
        in->quoted_key[side] = in->own[side].best_key = LADDER_EMPTY;
        fits &= ladder_init(&in->local.side[side], side, rules->tick, rules->levels_max) == LADDER_OK;
        fits &= ladder_init(&in->book.side[side], side, rules->tick, rules->levels_max) == LADDER_OK;
        fits &= (in->own[side].key = calloc(orders, sizeof(int64_t))) != NULL;
        fits &= (in->own[side].index = calloc(orders, sizeof(int32_t))) != NULL;
        fits &= (in->taken[side].key = calloc(levels, sizeof(int64_t))) != NULL;
        fits &= (in->taken[side].qty = calloc(levels, sizeof(int64_t))) != NULL;
    }
    const int code = !fits ? VENUE_ERR_FULL : rules->fidelity == VENUE_L2 ? VENUE_OK : l3_new(v, in);
    if (code != VENUE_OK) {
        instrument_free(in);
        return code;
    }
    v->has_l3 |= in->l3 != NULL;
    return v->n_instruments++;
}

/* ---- The tape ---- */

/* Gives the fed rows back to their owner: what the local clock has not reached of them moves into our own buffer. */
static void tape_release(venue *v)
{
    if (v->row_venue < v->row_end || v->fed == v->row_end)
        return;
    const bool in_carry = v->row_local_end != v->row_end;
    const int64_t left = v->row_local_end - v->row_local, behind = in_carry ? v->row_end - v->fed : 0;
    v->fed_before += v->row_end - v->fed;
    if (left + behind > v->carry_cap) {
        const int64_t cap = (left + behind) * 2;
        md_row *bigger = malloc((size_t)cap * sizeof *bigger);
        if (!bigger) {
            v->error = VENUE_ERR_FULL;
            return;
        }
        if (left)
            memcpy(bigger, v->row_local, (size_t)left * sizeof *bigger);
        free(v->carry);
        v->carry = bigger;
        v->carry_cap = cap;
    } else if (left) {
        memmove(v->carry, v->row_local, (size_t)left * sizeof *v->carry);
    }
    if (behind)
        memcpy(v->carry + left, v->fed, (size_t)behind * sizeof *v->carry);
    v->row_local = v->carry;
    v->row_local_end = v->carry + left + behind;
    v->fed = v->row_venue = v->row_end = v->row_local_end;
}

int venue_feed(venue *v, const md_row *rows, int64_t n)
{
    if (!v || n < 0 || (n && !rows) || v->finished || v->row_venue < v->row_end)
        return VENUE_ERR_ARGUMENT;
    if (n == 0)
        return VENUE_OK;
    tape_release(v);
    if (v->row_local == v->row_local_end) {
        v->row_local = rows;
        v->row_local_end = rows + n;
    }
    v->fed = v->row_venue = rows;
    v->row_end = rows + n;
    if (rows[n - 1].ts_event > v->safe_ts)
        v->safe_ts = rows[n - 1].ts_event;
    return v->error;
}

int venue_finish(venue *v)
{
    if (!v)
        return VENUE_ERR_ARGUMENT;
    v->finished = true;
    v->safe_ts = VENUE_TIME_MAX;
    return VENUE_OK;
}

int venue_horizon(venue *v, int64_t ts)
{
    if (!v)
        return VENUE_ERR_ARGUMENT;
    if (ts > v->safe_ts)
        v->safe_ts = ts;
    return VENUE_OK;
}

static void row_error(venue *v, int code)
{
    v->error = code;
    v->error_row = v->fed_before + (v->row_venue - v->fed);
}

/* ---- The venue's clock ---- */

static int ladder_error(int code)
{
    return code == LADDER_FULL ? VENUE_ERR_FULL : VENUE_ERR_TAPE_ROW;
}

VENUE_INLINE void packet_end_venue(venue *v, instrument *in)
{
    const int64_t bid = in->book.side[0].best_key, ask = in->book.side[1].best_key;
    /* bid >= ask in keys; an empty side is worse than everything. */
    if (VENUE_UNLIKELY(bid >= ~ask && bid != LADDER_EMPTY && ask != LADDER_EMPTY) && in->status != MD_STATUS_AUCTION && !in->gap) {
        v->totals.crossed++;
        if (in->rules.check_crossed) {
            row_error(v, VENUE_ERR_TAPE_CROSSED);
            return;
        }
    }
    const bool crosses_ours = (in->own[0].n && ask >= ~in->own[0].best_key) || (in->own[1].n && bid >= ~in->own[1].best_key);
    if (VENUE_UNLIKELY(crosses_ours || in->n_parked || in->packet_low <= in->packet_high))
        l2_packet_end_own(v, in);
}

static void row_rare(venue *v, instrument *in, const md_row *row)
{
    switch (row->kind) {
    case MD_CLEAR:
        l2_clear(v, in);
        return;
    case MD_BBO: {
        const int code = row->side <= MD_SIDE_SELL && row_price_fits(row) ? l2_bbo(v, in, row) : LADDER_OFF_TICK;
        if (code != LADDER_OK)
            row_error(v, ladder_error(code));
        return;
    }
    case MD_HIDDEN:
    case MD_CROSS:
        in->last_price = row->price;
        in->has_last = 1;
        return;
    case MD_STATUS:
        if (row->price < MD_STATUS_TRADING || row->price > MD_STATUS_CLOSED)
            row_error(v, VENUE_ERR_TAPE_ROW);
        else
            in->status = (uint8_t)row->price;
        return;
    case MD_GAP:
        in->gap = 1;
        v->totals.gaps++;
        return;
    default:
        row_error(v, VENUE_ERR_TAPE_ROW);
    }
}

VENUE_INLINE void row_venue_apply(venue *v, const md_row *row)
{
    if (VENUE_UNLIKELY(row->ts_event < v->tape_ts_event || row->ts_init < v->tape_ts_init || row->ts_event > row->ts_init)) {
        row_error(v, VENUE_ERR_TAPE_ORDER);
        return;
    }
    if (VENUE_UNLIKELY((uint32_t)row->instrument >= (uint32_t)v->n_instruments || (uint64_t)row->qty > (uint64_t)VENUE_QTY_LIMIT)) {
        row_error(v, VENUE_ERR_TAPE_ROW);
        return;
    }
    v->tape_ts_event = row->ts_event;
    v->tape_ts_init = row->ts_init;
    if (VENUE_LIKELY(row->ts_event > v->clock_venue))
        v->clock_venue = row->ts_event;
    instrument *in = &v->instruments[row->instrument];
    if (in->l3) {
        const int code = l3_row(v, in, row);
        if (VENUE_UNLIKELY(code != VENUE_OK))
            row_error(v, code);
        return;
    }
    if (VENUE_LIKELY(row->kind == MD_LEVEL)) {
        const int side = row->side;
        if (VENUE_UNLIKELY(side > MD_SIDE_SELL || !row_price_fits(row))) {
            row_error(v, VENUE_ERR_TAPE_ROW);
            return;
        }
        const int64_t key = ladder_key(side, row->price);
        int64_t before;
        const int code = ladder_set(&in->book.side[side], key, row->qty, &before);
        if (VENUE_UNLIKELY(code != LADDER_OK)) {
            row_error(v, ladder_error(code));
            return;
        }
        in->book.levels_seen[side] = 1;
        const own_side *own = &in->own[side];
        const bool among_ours = own->n && key <= own->best_key && key >= own->key[own->n - 1];
        if (VENUE_UNLIKELY(among_ours || in->taken[side].n))
            l2_level_own(v, in, side, key, before, row->qty);
    } else if (row->kind == MD_TRADE) {
        if (VENUE_UNLIKELY(row->side > MD_SIDE_NONE || !row_price_fits(row))) {
            row_error(v, VENUE_ERR_TAPE_ROW);
            return;
        }
        l2_trade(v, in, row);
    } else {
        row_rare(v, in, row);
    }
    if ((row->flags & MD_FLAG_LAST) && !v->error)
        packet_end_venue(v, in);
}

/* Runs the venue up to and including `limit`, or to when its first new answer becomes visible, whichever is earlier. */
static void venue_advance(venue *v, int64_t limit)
{
    while (!v->error) {
        if (v->answer_ts < limit)
            limit = v->answer_ts;
        if (v->feed_ts < limit)
            limit = v->feed_ts;
        if (v->row_venue < v->row_end) {
            const md_row *row = v->row_venue;
            if (row->ts_event <= limit && row->ts_event <= v->command_ts && row->ts_event < v->expiry_ts) {
                row_venue_apply(v, row);
                if (v->error)
                    return;
                v->row_venue++;
                v->totals.rows_venue++;
                continue;
            }
        }
        const bool expires = v->expiry_ts <= v->command_ts;
        const int64_t next = expires ? v->expiry_ts : v->command_ts;
        if (v->n_flows) {
            int64_t until = limit < next ? limit : next;
            if (expires && until == next)
                until--;
            if (v->row_venue < v->row_end && v->row_venue->ts_event <= until)
                until = v->row_venue->ts_event - 1; /* the tape's row comes first at the same time */
            if (flow_peek(v, until) != VENUE_TIME_MAX) {
                flow_use(v);
                continue;
            }
        }
        if (next > limit || next == VENUE_TIME_MAX)
            return;
        if (next > v->clock_venue)
            v->clock_venue = next;
        if (expires)
            venue_expire(v, next);
        else
            venue_command_arrive(v);
    }
}

/* Rows of the last nanosecond fed come before everything that may still follow at that time: they need not wait for it. */
static void venue_drain(venue *v)
{
    while (!v->error && v->row_venue < v->row_end) {
        const md_row *row = v->row_venue;
        if (v->expiry_ts <= row->ts_event) {
            if (v->expiry_ts > v->clock_venue)
                v->clock_venue = v->expiry_ts;
            venue_expire(v, v->expiry_ts);
            continue;
        }
        row_venue_apply(v, row);
        if (v->error)
            return;
        v->row_venue++;
        v->totals.rows_venue++;
    }
}

/* ---- The local clock ---- */

static void inbox_put(venue *v, const venue_event *event, bool wake)
{
    event_ring *ring = &v->inbox;
    if (VENUE_UNLIKELY(ring_count(ring->head, ring->tail) > ring->mask)) {
        v->error = VENUE_ERR_FULL;
        return;
    }
    ring->items[ring->tail++ & ring->mask] = *event;
    v->wake |= wake || ring_count(ring->head, ring->tail) > ring->mask / 2;
}

static int64_t key_price(int side, int64_t key)
{
    return key == LADDER_EMPTY ? 0 : ladder_key(side, key);
}

static void quote_put(venue *v, instrument *in)
{
    const ladder *bid = &in->local.side[0], *ask = &in->local.side[1];
    in->quoted_key[0] = bid->best_key;
    in->quoted_key[1] = ask->best_key;
    in->quoted_qty[0] = ladder_best_qty(bid);
    in->quoted_qty[1] = ladder_best_qty(ask);
    in->quote_ts = v->clock_local;
    in->quote_due = VENUE_TIME_MAX;
    const venue_event event = {.ts_init = v->clock_local, .ts_event = in->packet_ts_event, .kind = VENUE_EV_QUOTE,
                               .instrument = in->index, .a = key_price(0, bid->best_key), .b = in->quoted_qty[0],
                               .c = key_price(1, ask->best_key), .d = in->quoted_qty[1]};
    inbox_put(v, &event, true);
}

VENUE_INLINE bool quote_changed(const instrument *in)
{
    const ladder *bid = &in->local.side[0], *ask = &in->local.side[1];
    if (bid->best_key != in->quoted_key[0] || ask->best_key != in->quoted_key[1] || (in->wake & VENUE_WAKE_BOOK))
        return true;
    return (in->wake & VENUE_WAKE_BEST_QTY)
        && (ladder_best_qty(bid) != in->quoted_qty[0] || ladder_best_qty(ask) != in->quoted_qty[1]);
}

static void quote_due_scan(venue *v)
{
    v->quote_due = VENUE_TIME_MAX;
    for (int32_t i = 0; i < v->n_instruments; i++)
        if (v->instruments[i].quote_due < v->quote_due)
            v->quote_due = v->instruments[i].quote_due;
}

static void packet_end_quote(venue *v, instrument *in)
{
    if (in->local_gap)
        return;
    const int64_t due = in->quote_ts + in->rules.wake_interval_ns;
    const bool waited = in->quote_due != VENUE_TIME_MAX;
    if (v->clock_local >= due) {
        quote_put(v, in);
        if (waited)
            quote_due_scan(v);
    } else if (!waited) {
        in->quote_due = due;
        if (due < v->quote_due)
            v->quote_due = due;
    }
}

/* The throttle's time is up: tell the change, unless the market came back to what was told. */
static void quotes_due(venue *v)
{
    for (int32_t i = 0; i < v->n_instruments; i++) {
        instrument *in = &v->instruments[i];
        if (in->quote_due > v->clock_local)
            continue;
        in->quote_due = VENUE_TIME_MAX;
        if (!in->local_gap && quote_changed(in))
            quote_put(v, in);
    }
    quote_due_scan(v);
}

static void trade_put(venue *v, const instrument *in, int64_t ts_event, int64_t price, int64_t qty, int side, int64_t trade_id)
{
    const venue_event event = {.ts_init = v->clock_local, .ts_event = ts_event, .kind = VENUE_EV_TRADE, .instrument = in->index,
                               .a = price, .b = qty, .c = side, .d = trade_id};
    inbox_put(v, &event, true);
}

static void local_clear(instrument *in)
{
    ladder_clear(&in->local.side[0]);
    ladder_clear(&in->local.side[1]);
    in->local.levels_seen[0] = in->local.levels_seen[1] = 0;
    in->local_gap = 0;
}

static void local_rare(venue *v, instrument *in, const md_row *row)
{
    venue_event event = {.ts_init = v->clock_local, .ts_event = row->ts_event, .instrument = in->index};
    switch (row->kind) {
    case MD_CLEAR:
        local_clear(in);
        return;
    case MD_BBO:
        depth_bbo(&in->local, row);
        return;
    case MD_TRADE:
    case MD_HIDDEN:
    case MD_CROSS:
        if (!(in->wake & VENUE_WAKE_TRADE))
            return;
        trade_put(v, in, row->ts_event, row->price, row->qty, row->side, row->order_id);
        return;
    case MD_STATUS:
        event.kind = VENUE_EV_STATUS;
        event.a = row->price;
        break;
    default: /* MD_GAP: the venue's clock let nothing else through */
        event.kind = VENUE_EV_GAP;
        in->local_gap = 1;
        break;
    }
    inbox_put(v, &event, in->wake & VENUE_WAKE_STATUS);
}

VENUE_INLINE void packet_end_local(venue *v, instrument *in, int64_t ts_event)
{
    in->packet_ts_event = ts_event;
    if ((in->wake & VENUE_WAKE_QUOTE) && quote_changed(in))
        packet_end_quote(v, in);
}

/* What an order-by-order venue told becomes visible. */
VENUE_INLINE void feed_deliver(venue *v)
{
    feed_ring *ring = &v->feed;
    const feed_message *m = &ring->items[ring->head++ & ring->mask];
    instrument *in = &v->instruments[m->instrument];
    int64_t before;
    v->feed_ts = ring->head == ring->tail ? VENUE_TIME_MAX : ring->items[ring->head & ring->mask].visible_ts;
    if (VENUE_LIKELY(m->kind == MD_LEVEL)) {
        if (VENUE_UNLIKELY(ladder_set(&in->local.side[m->side], ladder_key(m->side, m->price), m->qty, &before) == LADDER_FULL))
            v->error = VENUE_ERR_FULL;
    } else if (m->kind == MD_TRADE) {
        trade_put(v, in, m->ts_event, m->price, m->qty, m->side, 0);
    } else if (m->kind == MD_CLEAR) {
        local_clear(in);
    }
    if (m->last)
        packet_end_local(v, in, m->ts_event);
}

VENUE_INLINE void row_local_apply(venue *v, const md_row *row)
{
    instrument *in = &v->instruments[row->instrument];
    if (in->l3) { /* its feed tells what the row did; only these two are told by the row itself */
        if (VENUE_UNLIKELY(row->kind == MD_STATUS || row->kind == MD_GAP))
            local_rare(v, in, row);
        return;
    }
    if (VENUE_LIKELY(row->kind == MD_LEVEL)) {
        int64_t before;
        in->local.levels_seen[row->side] = 1;
        ladder_set(&in->local.side[row->side], ladder_key(row->side, row->price), row->qty, &before);
    } else {
        local_rare(v, in, row);
    }
    if (row->flags & MD_FLAG_LAST)
        packet_end_local(v, in, row->ts_event);
}

static void answers_deliver(venue *v, int64_t ts)
{
    event_ring *ring = &v->answers;
    while (ring->head != ring->tail) {
        const venue_event *event = &ring->items[ring->head & ring->mask];
        if (event->ts_init > ts)
            break;
        const bool wakes = event->kind == VENUE_EV_FILL || event->instrument < 0
            || (v->instruments[event->instrument].wake & VENUE_WAKE_ORDER);
        inbox_put(v, event, wakes);
        ring->head++;
    }
    v->answer_ts = ring->head == ring->tail ? VENUE_TIME_MAX : ring->items[ring->head & ring->mask].ts_init;
}

static int64_t deliver(venue *v, venue_event *out, int64_t cap)
{
    event_ring *ring = &v->inbox;
    int64_t n = 0;
    while (n < cap && ring->head != ring->tail)
        out[n++] = ring->items[ring->head++ & ring->mask];
    if (ring->head == ring->tail)
        v->wake = false;
    v->totals.wakeups++;
    v->totals.events += n;
    return n;
}

VENUE_INLINE bool local_row_next(venue *v)
{
    if (v->row_local < v->row_local_end)
        return true;
    if (v->row_local_end == v->row_end)
        return false;
    v->row_local = v->fed; /* the carried rows are used up: go on in the last feed */
    v->row_local_end = v->row_end;
    return v->row_local < v->row_local_end;
}

static int64_t min4(int64_t a, int64_t b, int64_t c, int64_t d)
{
    const int64_t x = a < b ? a : b, y = c < d ? c : d;
    return x < y ? x : y;
}

/* One step of the local clock at `ts`, in the order stated at the top. */
static void local_step(venue *v, int64_t ts, bool at_row)
{
    if (ts > v->clock_local)
        v->clock_local = ts;
    if (v->answer_ts <= ts) {
        answers_deliver(v, ts);
    } else if (at_row) {
        row_local_apply(v, v->row_local++);
        v->totals.rows++;
    } else if (v->feed_ts <= ts) {
        feed_deliver(v);
    } else if (v->timer_ts <= ts) {
        const venue_event event = {.ts_init = v->clock_local, .ts_event = v->timers[0].ts, .kind = VENUE_EV_TIMER, .instrument = -1,
                                   .a = v->timers[0].id};
        timer_pop(v);
        inbox_put(v, &event, true);
    } else if (v->quote_due <= ts) {
        quotes_due(v);
    }
}

static int64_t need_data(venue *v)
{
    tape_release(v);
    return v->error ? v->error : VENUE_NEED_DATA;
}

/* No more rows and nothing in flight. Timers do not keep a run alive: one that sets itself again would never end. */
static bool is_over(const venue *v)
{
    return v->finished && v->n_flows == 0 && v->command_ts == VENUE_TIME_MAX && v->answer_ts == VENUE_TIME_MAX
        && v->feed_ts == VENUE_TIME_MAX;
}

/* The stretch where nothing but rows happens: no command, expiry, answer, timer or held-back quote comes before them. What the general
 * loop does, with the bounds taken once; it stops wherever something else may be due. */
static void run_rows(venue *v, int64_t until_ts)
{
    int64_t bound = min4(v->timer_ts, until_ts, v->safe_ts - 1, v->answer_ts - 1);
    bound = min4(bound, v->command_ts - 1, v->expiry_ts - 1, VENUE_TIME_MAX);
    while (v->row_local < v->row_local_end) {
        const md_row *row = v->row_local;
        const int64_t ts = row->ts_init;
        if (ts > bound)
            return;
        while (v->feed_ts < ts && v->feed_ts <= v->quote_due) {
            if (v->feed_ts > v->clock_local)
                v->clock_local = v->feed_ts;
            feed_deliver(v);
            if (VENUE_UNLIKELY(v->wake || v->error))
                return;
        }
        if (ts > v->quote_due)
            return;
        while (v->row_venue < v->row_end && v->row_venue->ts_event <= ts) {
            row_venue_apply(v, v->row_venue);
            if (VENUE_UNLIKELY(v->error))
                return;
            v->row_venue++;
            v->totals.rows_venue++;
            if (VENUE_UNLIKELY(v->answer_ts <= ts || v->feed_ts < ts))
                return;
        }
        if (VENUE_UNLIKELY(row == v->row_venue || ts < v->clock_local))
            return; /* received before it happened, or late: the general loop says what that means */
        v->clock_local = ts;
        v->row_local++;
        v->totals.rows++;
        row_local_apply(v, row);
        if (VENUE_UNLIKELY(v->wake))
            return;
        if (VENUE_UNLIKELY(v->answer_ts - 1 < bound))
            bound = v->answer_ts - 1;
    }
}

int64_t venue_run(venue *v, int64_t until_ts, venue_event *out, int64_t cap)
{
    if (!v || !out || cap < 1)
        return VENUE_ERR_ARGUMENT;
    if (until_ts < v->clock_local)
        return VENUE_ERR_TIME;
    for (;;) {
        if (VENUE_UNLIKELY(v->error))
            return v->error;
        if (v->wake)
            return deliver(v, out, cap);
        const bool has_row = local_row_next(v);
        if (has_row && !v->n_flows) {
            run_rows(v, until_ts);
            if (v->wake || v->error || v->row_local == v->row_local_end)
                continue;
        }
        if (!has_row && is_over(v)) {
            if (v->inbox.head != v->inbox.tail)
                return deliver(v, out, cap); /* answers that waited for a wake-up */
            return VENUE_DONE;
        }
        int64_t ts = min4(v->answer_ts, v->timer_ts, v->quote_due, until_ts);
        if (v->feed_ts < ts)
            ts = v->feed_ts;
        if (has_row && v->row_local->ts_init < ts)
            ts = v->row_local->ts_init;
        if (ts < v->clock_local)
            ts = v->clock_local;
        const bool waits = ts >= v->safe_ts;
        if (waits && v->safe_ts == INT64_MIN)
            return VENUE_NEED_DATA;
        venue_advance(v, waits ? v->safe_ts - 1 : ts);
        if (v->answer_ts < ts || v->feed_ts < ts || v->error)
            continue; /* something new is visible earlier */
        if (waits) {
            venue_drain(v);
            return need_data(v);
        }
        if (!has_row && is_over(v))
            continue;
        const bool at_row = has_row && v->row_local->ts_init <= ts;
        if (VENUE_UNLIKELY(at_row && v->row_local == v->row_venue)) {
            row_error(v, VENUE_ERR_TAPE_ORDER); /* received before it happened: the venue has not checked it yet */
            continue;
        }
        if (!at_row && v->answer_ts > ts && v->feed_ts > ts && v->timer_ts > ts && v->quote_due > ts) {
            v->clock_local = ts;
            return need_data(v); /* until_ts is reached */
        }
        local_step(v, ts, at_row);
    }
}

int64_t venue_now(const venue *v)
{
    return v ? v->clock_local : 0;
}

int64_t venue_error_row(const venue *v)
{
    return v ? v->error_row : -1;
}

int venue_totals_get(const venue *v, venue_totals *out)
{
    if (!v || !out)
        return VENUE_ERR_ARGUMENT;
    *out = v->totals;
    return VENUE_OK;
}
