/* venue_setup.c: making and freeing a venue, and the tape it borrows. */

#include "venue_internal.h"

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
    v->tape_ts_event = v->tape_ts_init = v->safe_ts = v->start_ts = INT64_MIN;
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
void tape_release(venue *v)
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
    if (v->start_ts == INT64_MIN)
        v->start_ts = rows[0].ts_event;
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
