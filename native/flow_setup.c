/* flow_setup.c: the generator made from its configuration, its tables prepared, its state shown. */
#include "flow_internal.h"

#include <stdlib.h>

static void rates_prepare(flow *f)
{
    const flow_config *c = &f->config;
    double limit_sum = 0.0;
    for (int i = 0; i < c->levels_n; i++) {
        limit_sum += c->limit_hz[i];
        f->limit_cumulative[i] = limit_sum;
        if (c->cancel_hz[i] > f->cancel_hz_max) {
            f->cancel_hz_max = c->cancel_hz[i];
        }
    }
    for (int i = 0; i < c->levels_n && limit_sum > 0.0; i++) {
        f->limit_cumulative[i] /= limit_sum;
    }
    for (int i = 0; i < c->regimes_n; i++) {
        const flow_regime *g = &c->regimes[i];
        flow_rates *r = &f->rates[i];
        r->limits = 2.0 * limit_sum * g->limit_factor;
        r->markets = 2.0 * c->market_hz * (1.0 + c->market_imbalance) * g->market_factor;
        r->informed = c->informed_hz * g->market_factor;
        r->stale = FLOW_STALE_SCAN * c->stale_hz * g->cancel_factor;
        r->fair = g->volatility_ticks > 0.0 ? c->fair_hz : 0.0;
        r->regime = c->regimes_n > 1 ? 1.0 / g->duration_s : 0.0;
        r->quiet = r->limits + r->markets + r->fair + r->regime;
        r->cancel_per_order = f->cancel_hz_max * (1.0 + c->cancel_adverse) * g->cancel_factor;
        r->fair_step_ticks = c->fair_hz > 0.0 ? g->volatility_ticks / math_sqrt(c->fair_hz) : 0.0;
    }
}

static void size_law_prepare(flow_size_law *law, double median_lots, double sigma, int64_t lots_max)
{
    law->median_lots = median_lots;
    law->sigma = sigma;
    law->lots_max = lots_max;
    const int edges = sigma > 0.0 ? FLOW_SIZE_SLICES + 1 : 1; /* one size needs one entry */
    for (int i = 0; i < edges; i++) {
        law->edge[i] = (int32_t)flow_size_lots(law, sigma > 0.0 ? (double)i / FLOW_SIZE_SLICES : 0.5);
    }
}

flow *flow_new(const flow_config *config)
{
    if (config == NULL || flow_config_error(config) != NULL) {
        return NULL;
    }
    flow *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return NULL;
    }
    const size_t orders = (size_t)config->orders_max;
    f->config = *config;
    f->reports_cap = config->orders_max + 4096;
    f->table = calloc(orders, sizeof *f->table);
    f->reports = calloc((size_t)f->reports_cap, sizeof *f->reports);
    f->check_ids = calloc(orders, sizeof *f->check_ids);
    f->check_views = calloc(orders, sizeof *f->check_views);
    if (f->table == NULL || f->reports == NULL || f->check_ids == NULL || f->check_views == NULL) {
        flow_free(f);
        return NULL;
    }
    random_seed(&f->random, config->seed, RANDOM_STREAM_FLOW);
    f->ts = config->ts_start;
    f->ts_next = FLOW_NOT_SCHEDULED;
    f->regime_since = config->ts_start;
    f->regime = config->regime_start;
    f->through = MD_SIDE_NONE;
    f->order_id_next = config->order_id_first;
    f->tick_min = -flow_floor_divide(-config->price_min, config->tick);
    f->tick_max = flow_floor_divide(config->price_max, config->tick);
    f->fair_ticks = (double)(config->price_start / config->tick) + 0.5;
    f->wait = random_exponential(&f->random);
    rates_prepare(f);
    size_law_prepare(&f->limit_size, config->limit_size_median, config->limit_size_sigma, config->size_max_lots);
    size_law_prepare(&f->market_size, config->market_size_median, config->market_size_sigma, config->size_max_lots);
    for (int i = 0; i < config->parents_n; i++) {
        flow_parent_renew(f, &f->parents[i]);
    }
    return f;
}

void flow_free(flow *f)
{
    if (f == NULL) {
        return;
    }
    free(f->table);
    free(f->reports);
    free(f->check_ids);
    free(f->check_views);
    free(f);
}

int flow_state(const flow *f, flow_view *out)
{
    if (f == NULL || out == NULL) {
        return FLOW_ERR_ARGUMENT;
    }
    *out = f->totals;
    out->ts = f->ts;
    out->ts_next = f->ts_next;
    out->fair_ticks = f->fair_ticks;
    out->fair_price = flow_floor_ticks(f->fair_ticks * (double)f->config.tick);
    out->rate_hz = flow_rate_bound(f);
    out->orders_live = f->table_n;
    out->order_id_next = f->order_id_next;
    out->regime = f->regime;
    out->regime_ns[f->regime] += f->ts - f->regime_since;
    return 0;
}
