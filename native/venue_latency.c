/* venue_latency.c: how long a message takes, and the random numbers behind it.
 *
 * ln and exp are our own, from + - * / and sqrt only (the build forbids fused operations): IEEE 754 fixes those to the last bit,
 * while libm's differ between machines, and the same seed must give the same run everywhere.
 */

#include "venue_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void random_seed(random_state *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        r->s[i] = splitmix(&seed);
}

static uint64_t rotate(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

/* xoshiro256++ 1.0 (Blackman and Vigna). */
uint64_t random_next(random_state *r)
{
    uint64_t *s = r->s;
    const uint64_t result = rotate(s[0] + s[3], 23) + s[0];
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

#define LN2_HIGH 0x1.62e42fefa38p-1    /* ln 2, its last bits zero: k * LN2_HIGH is exact for every exponent k */
#define LN2_LOW 0x1.ef35793c7673p-45

/* ln x for finite x > 0: x = 2^k m with m in [sqrt(1/2), sqrt 2), ln m = 2 artanh((m-1)/(m+1)). */
double venue_ln(double x)
{
    int k = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        k = -54;
    }
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    k += (int)(bits >> 52) - 1023;
    bits = (bits & 0x000FFFFFFFFFFFFFu) | 0x3FF0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 0x1.6a09e667f3bcdp0) {
        m *= 0.5;
        k++;
    }
    const double s = (m - 1.0) / (m + 1.0), z = s * s;
    double sum = 0.0;
    for (int n = 23; n >= 3; n -= 2)
        sum = (sum + 1.0 / n) * z;
    return k * LN2_HIGH + (2.0 * s * (1.0 + sum) + k * LN2_LOW);
}

/* e^x: x = k ln 2 + r with |r| <= ln 2 / 2, Taylor in r, and the exponent set. Outside [-700, 700] it is held at the end. */
double venue_exp(double x)
{
    x = x > 700.0 ? 700.0 : x < -700.0 ? -700.0 : x;
    const double scaled = x * 0x1.71547652b82fep0;
    const int k = (int)(scaled + (scaled < 0.0 ? -0.5 : 0.5));
    const double r = (x - k * LN2_HIGH) - k * LN2_LOW;
    double sum = 1.0;
    for (int n = 15; n >= 1; n--)
        sum = 1.0 + sum * r / n;
    const uint64_t bits = (uint64_t)(k + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return sum * power;
}

/* Standard normal by Marsaglia's polar method; the second variate is dropped so that each draw stands alone. */
double random_normal(random_state *r)
{
    for (;;) {
        const double u = (double)(int64_t)(random_next(r) >> 11) * 0x1p-52 - 1.0;
        const double w = (double)(int64_t)(random_next(r) >> 11) * 0x1p-52 - 1.0;
        const double s = u * u + w * w;
        if (s > 0.0 && s < 1.0)
            return u * sqrt(-2.0 * venue_ln(s) / s);
    }
}

int latency_init(latency_model *m, const venue_latency *config)
{
    m->config = *config;
    m->config.table = NULL;
    random_seed(&m->random[0], config->seed);
    random_seed(&m->random[1], ~config->seed);
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

static int64_t lognormal_latency(random_state *random, int64_t median, double sigma)
{
    const double ns = (double)median * venue_exp(sigma * random_normal(random));
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
