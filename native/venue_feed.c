/* venue_feed.c: what order-by-order venues tell, on its way to the local clock; and generators as the source of rows. */

#include "venue_internal.h"

#include <stdlib.h>

#define FEED_MESSAGES_MAX ((uint64_t)1 << 24)

/* Twice the room: what is under way is the feed latency times the rate of the market, known to nobody beforehand. It grows to
 * the largest backlog once. */
int feed_grow(venue *v)
{
    feed_ring *ring = &v->feed;
    const uint64_t room = ring->mask + 1;
    if (room >= FEED_MESSAGES_MAX)
        return VENUE_ERR_FULL;
    feed_message *bigger = malloc(room * 2 * sizeof *bigger);
    if (!bigger)
        return VENUE_ERR_FULL;
    for (uint64_t i = ring->head; i != ring->tail; i++)
        bigger[i & (room * 2 - 1)] = ring->items[i & ring->mask];
    free(ring->items);
    ring->items = bigger;
    ring->mask = room * 2 - 1;
    return VENUE_OK;
}

int venue_flow_attach(venue *v, int32_t index, flow *f)
{
    if (!v || !f || index < 0 || index >= v->n_instruments || v->instruments[index].rules.fidelity != VENUE_FLOW)
        return VENUE_ERR_ARGUMENT;
    instrument *in = &v->instruments[index];
    if (in->l3->source)
        return VENUE_ERR_ARGUMENT;
    const int64_t cap = in->rules.orders_max;
    md_row *rows = malloc((size_t)cap * sizeof *rows);
    if (!rows)
        return VENUE_ERR_FULL;
    const int64_t n = flow_snapshot(f, rows, cap);
    int code = n < 0 ? (n == FLOW_ERR_FULL ? VENUE_ERR_FULL : VENUE_ERR_ARGUMENT) : VENUE_OK;
    in->l3->source = f;
    if (n > 0 && v->start_ts == INT64_MIN)
        v->start_ts = rows[0].ts_event;
    for (int64_t i = 0; i < n && code == VENUE_OK; i++) {
        if (rows[i].ts_event > v->clock_venue)
            v->clock_venue = rows[i].ts_event;
        rows[i].ts_init = v->clock_venue + v->config.feed_latency_ns;
        code = l3_row(v, in, &rows[i]);
        v->totals.rows_venue++;
    }
    free(rows);
    v->n_flows += code == VENUE_OK;
    return code;
}

/* Makes the earliest generated row up to `until` wait in its instrument; VENUE_TIME_MAX where there is none. Every flow is asked, up
 * to the earliest row found so far; a row that is not the earliest waits. A generator that looked further than now (another one
 * then woke the trader) has nothing before its own clock. */
int64_t flow_peek(venue *v, int64_t until)
{
    int64_t earliest = VENUE_TIME_MAX;
    for (int32_t i = 0; i < v->n_instruments; i++) {
        venue_l3 *x = v->instruments[i].l3;
        if (!x || !x->source || x->source_ended)
            continue;
        if (!x->has_pending) {
            const int code = flow_next(x->source, x->book, 0, until < earliest ? until : earliest, &x->pending);
            if (code < 0 && code != FLOW_END && code != FLOW_ERR_TIME) {
                v->error = code == FLOW_ERR_FULL || code == FLOW_ERR_IDS ? VENUE_ERR_FULL : VENUE_ERR_ARGUMENT;
                return VENUE_TIME_MAX;
            }
            x->source_ended = code == FLOW_END;
            v->n_flows -= code == FLOW_END;
            x->has_pending = code == FLOW_ROW;
        }
        if (x->has_pending && x->pending.ts_event <= until && x->pending.ts_event < earliest) {
            earliest = x->pending.ts_event;
            v->flow_at = i;
        }
    }
    return earliest;
}

/* Applies the row that flow_peek found. */
void flow_use(venue *v)
{
    instrument *in = &v->instruments[v->flow_at];
    md_row *row = &in->l3->pending;
    if (row->ts_event > v->clock_venue)
        v->clock_venue = row->ts_event;
    row->ts_init = v->clock_venue + v->config.feed_latency_ns;
    row->flags |= MD_FLAG_LAST;
    in->l3->has_pending = false;
    const int code = l3_row(v, in, row);
    if (code != VENUE_OK)
        v->error = code;
    v->totals.rows_venue++;
    v->totals.rows++;
}
