/* venue_latency.c: how long a message takes: constant, log-normal, or between recorded pairs.
 *
 * The log-normal model draws from random.h and deterministic_math.h, not from libm: the same seed must give the same run on
 * every machine.
 */

#include "venue_internal.h"

#include <stdlib.h>
#include <string.h>

int latency_init(latency_model *m, const venue_latency *config)
{
    m->config = *config;
    m->config.table = NULL;
    random_seed(&m->random[0], config->seed, RANDOM_STREAM_LATENCY);
    m->random[1] = m->random[0];
    random_jump(&m->random[1]);
    if (config->kind < VENUE_LATENCY_CONSTANT || config->kind > VENUE_LATENCY_TABLE || config->entry_ns < 0 || config->response_ns < 0)
        return VENUE_ERR_ARGUMENT;
    /* Written so that NaN fails. */
    if (config->kind == VENUE_LATENCY_LOGNORMAL
        && !(config->entry_sigma >= 0.0 && config->entry_sigma <= 10.0 && config->response_sigma >= 0.0 && config->response_sigma <= 10.0))
        return VENUE_ERR_ARGUMENT;
    if (config->kind != VENUE_LATENCY_TABLE)
        return VENUE_OK;
    if (!config->table || config->table_rows < 1)
        return VENUE_ERR_ARGUMENT;
    for (int64_t i = 0; i < config->table_rows; i++) {
        const int64_t *row = &config->table[3 * i];
        if (row[1] < 0 || row[2] < 0 || (i && row[0] <= row[-3]))
            return VENUE_ERR_ARGUMENT;
    }
    m->table = malloc((size_t)config->table_rows * 3 * sizeof *m->table);
    if (!m->table)
        return VENUE_ERR_FULL;
    memcpy(m->table, config->table, (size_t)config->table_rows * 3 * sizeof *m->table);
    return VENUE_OK;
}

/* Linear between the recorded pairs around ts, rounded down; constant before the first and after the last. */
static int64_t table_latency(latency_model *m, int64_t ts, int column)
{
    int64_t at = m->cursor[column - 1];
    const int64_t rows = m->config.table_rows;
    while (at + 1 < rows && m->table[3 * (at + 1)] <= ts)
        at++;
    m->cursor[column - 1] = at;
    const int64_t *low = &m->table[3 * at];
    if (ts <= low[0] || at + 1 == rows)
        return low[column];
    const __int128 rise = (__int128)(low[3 + column] - low[column]) * (ts - low[0]);
    const int64_t run = low[3] - low[0];
    __int128 quotient = rise / run;
    if (rise % run < 0)
        quotient--;
    return low[column] + (int64_t)quotient;
}

static int64_t lognormal_latency(random_stream *random, int64_t median, double sigma)
{
    const double ns = (double)median * math_exp(sigma * random_normal(random));
    return ns < 0x1p62 ? (int64_t)(ns + 0.5) : (int64_t)1 << 62;
}

/* Way out: `ts` is when the order left us. */
int64_t latency_entry_ns(latency_model *m, int64_t ts)
{
    if (VENUE_LIKELY(m->config.kind == VENUE_LATENCY_CONSTANT))
        return m->config.entry_ns;
    if (m->config.kind == VENUE_LATENCY_TABLE)
        return table_latency(m, ts, 1);
    return lognormal_latency(&m->random[0], m->config.entry_ns, m->config.entry_sigma);
}

/* Way back: `ts` is when the venue answered. */
int64_t latency_response_ns(latency_model *m, int64_t ts)
{
    if (VENUE_LIKELY(m->config.kind == VENUE_LATENCY_CONSTANT))
        return m->config.response_ns;
    if (m->config.kind == VENUE_LATENCY_TABLE)
        return table_latency(m, ts, 2);
    return lognormal_latency(&m->random[1], m->config.response_ns, m->config.response_sigma);
}
