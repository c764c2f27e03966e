/* flow_config.c: what a flow_config must satisfy; the first broken rule is named. */
#include "flow_internal.h"

/* Sums of two such values cannot overflow. */
#define FLOW_INT64_SAFE (INT64_MAX / 2)

/* Written so that NaN fails every test. */
static int not_negative(double x)
{
    return x >= 0.0 && x <= 1e12;
}

static int probability(double x)
{
    return x >= 0.0 && x <= 1.0;
}

static const char *market_error(const flow_config *c)
{
    if (c->ts_start < 0 || c->ts_end <= c->ts_start || c->ts_end > FLOW_INT64_SAFE) {
        return "ts_end: must be after ts_start, both from 0 to half of the int64 range";
    }
    if (c->feed_latency_ns < 0 || c->feed_latency_ns > FLOW_INT64_SAFE) {
        return "feed_latency_ns: must be from 0 to half of the int64 range";
    }
    if (c->tick <= 0 || c->tick > FLOW_INT64_SAFE / 4 || c->lot <= 0) {
        return "tick: tick and lot must be positive, and tick at most an eighth of the int64 range";
    }
    if (c->price_max < c->price_min || c->price_max > FLOW_INT64_SAFE / 2 || c->price_min < -(FLOW_INT64_SAFE / 2)) {
        return "price_max: must be at least price_min and both within a quarter of the int64 range";
    }
    if (c->price_start % c->tick != 0 || c->price_start < c->price_min || c->price_start > c->price_max) {
        return "price_start: must be a multiple of tick within the band";
    }
    if (c->price_start - 2 * c->tick < c->price_min || c->price_start + 2 * c->tick > c->price_max) {
        return "price_start: must be two ticks or more inside the band";
    }
    if (c->orders_max < 1 || c->orders_max > (INT64_C(1) << 31) - 1) {
        return "orders_max: must be from 1 to 2^31 - 1";
    }
    if (c->order_id_first < 1 || c->order_id_first >= FLOW_ORDER_ID_MAX) {
        return "order_id_first: must be from 1 to 2^62 - 1";
    }
    if (c->size_max_lots < 1 || c->size_max_lots > (INT64_C(1) << 31) - 1 || c->size_max_lots > INT64_MAX / c->lot) {
        return "size_max_lots: must be from 1 to 2^31 - 1, and times lot within int64";
    }
    return 0;
}

static const char *shape_error(const flow_config *c)
{
    if (c->anchor != FLOW_ANCHOR_OPPOSITE && c->anchor != FLOW_ANCHOR_FAIR) {
        return "anchor: must be FLOW_ANCHOR_OPPOSITE or FLOW_ANCHOR_FAIR";
    }
    if (c->levels_n < 1 || c->levels_n > FLOW_LEVELS_MAX) {
        return "levels_n: must be from 1 to FLOW_LEVELS_MAX";
    }
    if (c->regimes_n < 1 || c->regimes_n > FLOW_REGIMES_MAX) {
        return "regimes_n: must be from 1 to FLOW_REGIMES_MAX";
    }
    if (c->regime_start < 0 || c->regime_start >= c->regimes_n) {
        return "regime_start: must be a regime";
    }
    if (c->snapshot_levels < 0 || c->snapshot_bid_orders < 0 || c->snapshot_ask_orders < 0) {
        return "snapshot_levels: levels and orders of the snapshot must not be negative";
    }
    if (c->parents_n < 0 || c->parents_n > FLOW_PARENTS_MAX) {
        return "parents_n: must be from 0 to FLOW_PARENTS_MAX";
    }
    if (c->parents_n > 0 && !(c->parent_alpha > 1.0 && c->parent_alpha <= 1e3)) {
        return "parent_alpha: must be above 1";
    }
    if (c->round_lots < 1 || c->protection_ticks < 0 || c->protection_ticks > (INT64_C(1) << 31)) {
        return "round_lots: must be positive, and protection_ticks must not be negative";
    }
    return 0;
}

static const char *rate_error(const flow_config *c)
{
    for (int i = 0; i < c->levels_n; i++) {
        if (!not_negative(c->limit_hz[i])) {
            return "limit_hz: every rate must be finite and not negative";
        }
        if (!not_negative(c->cancel_hz[i])) {
            return "cancel_hz: every rate must be finite and not negative";
        }
    }
    if (!not_negative(c->market_hz) || !not_negative(c->informed_hz) || !not_negative(c->stale_hz) || !not_negative(c->fair_hz)) {
        return "market_hz: market_hz, informed_hz, stale_hz and fair_hz must be finite and not negative";
    }
    if (!not_negative(c->informed_scale_ticks) || c->informed_scale_ticks == 0.0) {
        return "informed_scale_ticks: must be positive";
    }
    if (!not_negative(c->cancel_adverse)) {
        return "cancel_adverse: must not be negative";
    }
    if (!not_negative(c->impact_ticks)) {
        return "impact_ticks: must be finite and not negative";
    }
    if (!probability(c->join_probability) || !probability(c->limit_informed) || !probability(c->market_imbalance)
        || !probability(c->sweep_probability) || !probability(c->reduce_probability) || !probability(c->round_probability)) {
        return "join_probability: every probability, limit_informed and market_imbalance must be from 0 to 1";
    }
    if (!(c->limit_size_median >= 1.0 && c->limit_size_median <= 1e9) || !(c->market_size_median >= 1.0 && c->market_size_median <= 1e9)) {
        return "limit_size_median: size medians must be at least one lot";
    }
    if (!(c->limit_size_sigma >= 0.0 && c->limit_size_sigma <= 10.0) || !(c->market_size_sigma >= 0.0 && c->market_size_sigma <= 10.0)) {
        return "limit_size_sigma: size sigmas must be from 0 to 10";
    }
    return 0;
}

static const char *regime_error(const flow_config *c)
{
    for (int i = 0; i < c->regimes_n; i++) {
        const flow_regime *g = &c->regimes[i];
        if (!not_negative(g->volatility_ticks) || !not_negative(g->limit_factor) || !not_negative(g->market_factor)
            || !not_negative(g->cancel_factor) || !not_negative(g->edge_ticks)) {
            return "regimes: volatility, factors and edge must be finite and not negative";
        }
        if (g->volatility_ticks > 0.0 && c->fair_hz == 0.0) {
            return "fair_hz: must be positive where a regime has volatility";
        }
        if (c->regimes_n == 1) {
            continue;
        }
        if (!(g->duration_s > 0.0 && g->duration_s <= 1e12)) {
            return "regimes: duration_s must be positive where there are several regimes";
        }
        double sum = 0.0;
        for (int k = 0; k < c->regimes_n; k++) {
            if (!probability(g->next[k]) || (k == i && g->next[k] != 0.0)) {
                return "regimes: next must be probabilities, and 0 for the regime itself";
            }
            sum += g->next[k];
        }
        if (!(sum > 1.0 - 1e-9 && sum < 1.0 + 1e-9)) {
            return "regimes: next must sum to 1";
        }
    }
    return 0;
}

const char *flow_config_error(const flow_config *c)
{
    const char *error = market_error(c);
    if (!error) {
        error = shape_error(c);
    }
    if (!error) {
        error = rate_error(c);
    }
    if (!error) {
        error = regime_error(c);
    }
    return error;
}

int flow_power_law(double total_hz, double exponent, int32_t levels_n, double *out)
{
    if (levels_n < 1 || levels_n > FLOW_LEVELS_MAX || !not_negative(total_hz) || !not_negative(exponent) || out == 0) {
        return FLOW_ERR_ARGUMENT;
    }
    double sum = 0.0;
    for (int i = 0; i < levels_n; i++) {
        out[i] = math_exp(-exponent * math_ln((double)(i + 1)));
        sum += out[i];
    }
    for (int i = 0; i < levels_n; i++) {
        out[i] = total_hz * (out[i] / sum);
    }
    return 0;
}
