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

/* What is wrong with a row that cannot be used, for who has to mend the tape. */
static int row_cause(const venue *v, const md_row *row)
{
    const bool has_price = row->kind == MD_LEVEL || row->kind == MD_TRADE || row->kind == MD_BBO || row->kind == MD_ADD
        || row->kind == MD_MODIFY;
    if ((uint32_t)row->instrument >= (uint32_t)v->n_instruments)
        return VENUE_ERR_TAPE_ROW;
    if ((uint64_t)row->qty > (uint64_t)VENUE_QTY_LIMIT || ((row->kind == MD_ADD || row->kind == MD_MODIFY) && row->qty == 0))
        return VENUE_ERR_TAPE_QTY;
    if (row->side > MD_SIDE_NONE || (row->side == MD_SIDE_NONE && row->kind != MD_TRADE))
        return VENUE_ERR_TAPE_ROW;
    if (has_price && (!row_price_fits(row) || row->price % v->instruments[row->instrument].rules.tick))
        return VENUE_ERR_TAPE_PRICE;
    return VENUE_ERR_TAPE_ROW;
}

static void row_error(venue *v, int code)
{
    v->error = code == VENUE_ERR_TAPE_ROW ? row_cause(v, v->row_venue) : code;
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
    if (ring->head == ring->tail)
        ring_rewind(&ring->head, &ring->tail);
    v->answer_ts = ring->head == ring->tail ? VENUE_TIME_MAX : ring->items[ring->head & ring->mask].ts_init;
}

static int64_t deliver(venue *v, venue_event *out, int64_t cap)
{
    event_ring *ring = &v->inbox;
    int64_t n = 0;
    while (n < cap && ring->head != ring->tail)
        out[n++] = ring->items[ring->head++ & ring->mask];
    if (ring->head == ring->tail) {
        ring_rewind(&ring->head, &ring->tail);
        v->wake = false;
    }
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

/* Rows up to ts reach the venue. False: an answer is due by then, or an error, and the general loop takes over. */
VENUE_INLINE bool rows_reach_venue(venue *v, int64_t ts)
{
    while (VENUE_LIKELY(v->answer_ts > ts && v->feed_ts >= ts)) {
        if (v->row_venue == v->row_end || v->row_venue->ts_event > ts)
            return true;
        row_venue_apply(v, v->row_venue);
        if (VENUE_UNLIKELY(v->error))
            return false;
        v->row_venue++;
        v->totals.rows_venue++;
    }
    return false;
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
            if (VENUE_UNLIKELY(!rows_reach_venue(v, v->feed_ts)))
                return;
            if (v->feed_ts > v->clock_local)
                v->clock_local = v->feed_ts;
            feed_deliver(v);
            if (VENUE_UNLIKELY(v->wake || v->error))
                return;
        }
        if (ts > v->quote_due)
            return;
        if (VENUE_UNLIKELY(!rows_reach_venue(v, ts)))
            return;
        if (VENUE_UNLIKELY(row == v->row_venue || ts < v->clock_local))
            return; /* received before it happened, or late: the general loop says what that means */
        v->clock_local = ts;
        v->row_local++;
        v->totals.rows++;
        row_local_apply(v, row);
        if (VENUE_UNLIKELY(v->wake))
            return;
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
