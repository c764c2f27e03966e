/* flow.c: the order-flow generator: which event comes next, and when.
 *
 * Why thinning over a dense table. The chain's rates depend on every live order (its distance from the quotes sets how
 * fast it is cancelled) and the quotes move with almost every event, so keeping exact sums would touch hundreds of
 * orders per message. Instead each class of events has a bound on its rate that changes rarely; a candidate is
 * drawn at the bound and kept with probability rate / bound (Lewis and Shedler 1979). A cancel candidate is one random index
 * into a dense array of 24-byte entries, O(1) whatever the size of the book, and the law is exact. Bounds use
 * only what the generator knew at its last candidate, so that orders of others in between need no redrawing of time.
 */
#include "flow_internal.h"

#include <stddef.h>

/* The best quotes in ticks as the book shows them at one moment. */
typedef struct {
    int has[2];
    int64_t price_ticks[2];
    int64_t qty[2];
} flow_quotes;

static int64_t price_to_ticks(const flow *f, int64_t price)
{
    /* A 64-bit division costs a tenth of a whole message, and most markets count in ticks. */
    return f->config.tick == 1 ? price : flow_floor_divide(price, f->config.tick);
}

static int happens(flow *f, double probability)
{
    /* No draw where there is no choice: models that switch a feature off keep the same tape as without it. */
    return probability > 0.0 && (probability >= 1.0 || random_unit(&f->random) < probability);
}

/* ---- time ------------------------------------------------------------------------------------------------ */

static void schedule(flow *f)
{
    const double rate = flow_rate_bound(f);
    const double left_ns = (double)(f->config.ts_end - f->ts);
    double wait_ns = left_ns;
    if (rate > 0.0) {
        wait_ns = f->wait * 1e9 / rate + f->ts_fraction_ns;
        /* Drawn one candidate ahead: the logarithm's latency hides behind the work of deciding the next one. */
        f->wait = random_exponential(&f->random);
    }
    if (wait_ns >= left_ns) {
        f->ts_next = f->config.ts_end;
        return;
    }
    const int64_t whole_ns = (int64_t)wait_ns;
    f->ts_fraction_ns = wait_ns - (double)whole_ns;
    f->ts_next = f->ts + whole_ns;
}

/* ---- rows ------------------------------------------------------------------------------------------------ */

static void row_write(const flow *f, md_row *out, int64_t ts, int kind, int side, int64_t order_id, int64_t price, int64_t qty, uint16_t flags)
{
    *out = (md_row){
        .ts_event = ts,
        .ts_init = ts + f->config.feed_latency_ns,
        .price = price,
        .qty = qty,
        .order_id = order_id,
        .instrument = f->config.instrument,
        .kind = (uint8_t)kind,
        .side = (uint8_t)side,
        .flags = flags,
    };
}

void flow_limit_row(flow *f, int64_t ts, int side, int64_t price_ticks, int64_t qty, uint16_t flags, md_row *out)
{
    f->table[f->table_n++] = (flow_entry){.order_id = f->order_id_next, .price_ticks = price_ticks, .side = side};
    f->totals.limits[side]++;
    row_write(f, out, ts, MD_ADD, side, f->order_id_next++, price_ticks * f->config.tick, qty, flags);
}

int64_t flow_size_lots(const flow_size_law *law, double u)
{
    const double x = law->median_lots * math_exp(law->sigma * math_normal_quantile(u));
    if (x < 1.0) {
        return 1;
    }
    return x < (double)law->lots_max ? (int64_t)(x + 0.5) : law->lots_max;
}

int64_t flow_size(flow *f, const flow_size_law *law)
{
    const flow_config *c = &f->config;
    int64_t lots = law->edge[0];
    if (law->sigma > 0.0) {
        const double u = random_unit_open(&f->random);
        const int slice = (int)(u * FLOW_SIZE_SLICES);
        lots = law->edge[slice] == law->edge[slice + 1] ? law->edge[slice] : flow_size_lots(law, u);
    }
    if (happens(f, c->round_probability) && 2 * lots >= c->round_lots) {
        lots = (lots + c->round_lots / 2) / c->round_lots * c->round_lots;
    }
    if (lots > c->size_max_lots) {
        lots = c->size_max_lots;
    }
    return (lots < 1 ? 1 : lots) * c->lot;
}

/* ---- the book as the traders see it ------------------------------------------------------------------------ */

static void quotes_read(const flow *f, const book *b, int32_t symbol, flow_quotes *q)
{
    for (int side = 0; side < 2; side++) {
        book_level level;
        q->has[side] = book_best(b, symbol, side, &level) == 1;
        q->price_ticks[side] = q->has[side] ? price_to_ticks(f, level.price) : 0;
        q->qty[side] = q->has[side] ? level.qty : 0;
    }
}

/* The price that distance 0 stands for, seen from side: a buy order at distance d is d ticks below it. */
static int64_t anchor_ticks(const flow *f, const flow_quotes *q, int side)
{
    const int64_t fair = flow_floor_ticks(f->fair_ticks);
    if (f->config.anchor == FLOW_ANCHOR_OPPOSITE && q->has[!side]) {
        return q->price_ticks[!side];
    }
    int64_t anchor = side == MD_SIDE_BUY ? fair + 1 : fair;
    if (f->config.anchor == FLOW_ANCHOR_OPPOSITE && q->has[side]) {
        /* The other side is empty: as if its best stood at the fair value, or one tick off our best if that is through it. */
        const int64_t own = q->price_ticks[side];
        if (side == MD_SIDE_BUY && own >= anchor) {
            anchor = own + 1;
        } else if (side == MD_SIDE_SELL && own <= anchor) {
            anchor = own - 1;
        }
    }
    return anchor;
}

/* -1..1: positive where the queue at the best bid is the longer one. */
static double imbalance(const flow_quotes *q)
{
    const double bid = (double)q->qty[MD_SIDE_BUY];
    const double ask = (double)q->qty[MD_SIDE_SELL];
    return bid + ask > 0.0 ? (bid - ask) / (bid + ask) : 0.0;
}

/* The side whose best quote is through the fair value. In an uncrossed book there is at most one. */
static int side_through_fair(const flow *f, const flow_quotes *q)
{
    if (q->has[MD_SIDE_BUY] && (double)q->price_ticks[MD_SIDE_BUY] > f->fair_ticks) {
        return MD_SIDE_BUY;
    }
    return q->has[MD_SIDE_SELL] && (double)q->price_ticks[MD_SIDE_SELL] < f->fair_ticks ? MD_SIDE_SELL : MD_SIDE_NONE;
}

/* ---- the table of live orders -------------------------------------------------------------------------------- */

static void table_remove(flow *f, int64_t index)
{
    f->table[index] = f->table[--f->table_n];
}

/* An order at the front of the book is mostly a young one, and those stand at the table's end. One that is not found is
 * dropped when it is next picked, as a filled one is. */
static void table_forget(flow *f, int64_t order_id)
{
    const int64_t last = f->table_n - FLOW_FORGET_SCAN > 0 ? f->table_n - FLOW_FORGET_SCAN : 0;
    for (int64_t i = f->table_n - 1; i >= last; i--) {
        if (f->table[i].order_id == order_id) {
            table_remove(f, i);
            return;
        }
    }
}

static void table_sweep(flow *f, const book *b)
{
    for (int64_t i = f->table_n - 1; i >= 0; i--) {
        book_order_view view;
        if (book_order_get(b, f->table[i].order_id, &view) != 1) {
            table_remove(f, i);
        }
    }
}

/* ---- one candidate of each class: FLOW_ROW, FLOW_NONE, or an error without effect ------------------------------ */

static int limit_candidate(flow *f, const book *b, const flow_quotes *q, int64_t ts, md_row *out)
{
    const flow_config *c = &f->config;
    if (f->table_n == c->orders_max) {
        table_sweep(f, b);
        if (f->table_n == c->orders_max) {
            return FLOW_ERR_FULL;
        }
    }
    if (f->order_id_next >= FLOW_ORDER_ID_MAX) {
        return FLOW_ERR_IDS;
    }
    const int side = (int)(random_next(&f->random) >> 63);
    const int64_t toward = side == MD_SIDE_BUY ? 1 : -1; /* the direction of more aggressive prices */
    int64_t price;
    if (q->has[side] && happens(f, c->join_probability)) {
        price = q->price_ticks[side];
    } else {
        const double u = random_unit(&f->random);
        int distance = 1;
        while (distance < c->levels_n && u >= f->limit_cumulative[distance - 1]) {
            distance++;
        }
        price = anchor_ticks(f, q, side) - toward * distance;
    }
    if (happens(f, c->limit_informed)) {
        const double edge = f->config.regimes[f->regime].edge_ticks;
        const int64_t bound = side == MD_SIDE_BUY ? flow_floor_ticks(f->fair_ticks - edge) : flow_ceil_ticks(f->fair_ticks + edge);
        if ((price - bound) * toward > 0) {
            price = bound;
        }
    }
    if (q->has[!side] && (price - q->price_ticks[!side]) * toward >= 0) {
        price = q->price_ticks[!side] - toward;
    }
    const int64_t qty = flow_size(f, &f->limit_size);
    if (price < f->tick_min || price > f->tick_max) {
        return FLOW_NONE;
    }
    flow_limit_row(f, ts, side, price, qty, MD_FLAG_LAST, out);
    return FLOW_ROW;
}

static int market_row(flow *f, const flow_quotes *q, int64_t ts, int side, int64_t limit_ticks, md_row *out)
{
    const flow_config *c = &f->config;
    if (f->order_id_next >= FLOW_ORDER_ID_MAX) {
        return FLOW_ERR_IDS;
    }
    int64_t qty = flow_size(f, &f->market_size);
    if (qty > q->qty[!side] && !happens(f, c->sweep_probability)) {
        qty = q->qty[!side];
    }
    if (limit_ticks < f->tick_min) {
        limit_ticks = f->tick_min;
    } else if (limit_ticks > f->tick_max) {
        limit_ticks = f->tick_max;
    }
    f->totals.markets[side]++;
    row_write(f, out, ts, MD_ADD, side, f->order_id_next++, limit_ticks * c->tick, qty,
              MD_FLAG_LAST | MD_FLAG_AGGRESSIVE | MD_FLAG_IOC);
    return FLOW_ROW;
}

static void fair_move(flow *f, double ticks)
{
    const double low = (double)f->tick_min + 1.0;
    const double high = (double)f->tick_max - 1.0;
    double fair = f->fair_ticks + ticks;
    if (fair < low) { /* reflected into the band */
        fair = 2.0 * low - fair;
    } else if (fair > high) {
        fair = 2.0 * high - fair;
    }
    f->fair_ticks = fair < low ? low : (fair > high ? high : fair);
}

void flow_parent_renew(flow *f, flow_parent *parent)
{
    /* Pareto tail P(slices >= n) = n^-alpha (Lillo, Mike and Farmer 2005): sign autocorrelation decays as lag^(1 - alpha). */
    const double slices = math_exp(-math_ln(random_unit_open(&f->random)) / f->config.parent_alpha);
    parent->side = (int32_t)(random_next(&f->random) >> 63);
    parent->left = slices < 1e6 ? (int64_t)slices : 1000000;
}

/* Mean sign of the next uninformed market order. Only what goes beyond it is news (Madhavan, Richardson and Roomans 1997), so that
 * the fair value stays a martingale although signs have memory. */
static double sign_expected(const flow *f)
{
    int sum = 0;
    for (int i = 0; i < f->config.parents_n; i++) {
        sum += f->parents[i].side == MD_SIDE_BUY ? 1 : -1;
    }
    return f->config.parents_n > 0 ? (double)sum / f->config.parents_n : 0.0;
}

static int market_candidate(flow *f, const flow_quotes *q, int64_t ts, md_row *out)
{
    const flow_config *c = &f->config;
    flow_parent *parent = NULL;
    int side;
    if (c->parents_n > 0) {
        parent = &f->parents[random_below(&f->random, (uint32_t)c->parents_n)];
        side = parent->side;
    } else {
        side = (int)(random_next(&f->random) >> 63);
    }
    if (!q->has[!side]) {
        return FLOW_NONE;
    }
    if (c->market_imbalance > 0.0) {
        const double along = side == MD_SIDE_BUY ? imbalance(q) : -imbalance(q);
        if (!happens(f, (1.0 + c->market_imbalance * along) / (1.0 + c->market_imbalance))) {
            return FLOW_NONE;
        }
    }
    const int64_t protection = side == MD_SIDE_BUY ? c->protection_ticks : -c->protection_ticks;
    const int status = market_row(f, q, ts, side, q->price_ticks[!side] + protection, out);
    if (status != FLOW_ROW) {
        return status;
    }
    fair_move(f, c->impact_ticks * ((side == MD_SIDE_BUY ? 1.0 : -1.0) - sign_expected(f)));
    if (parent != NULL && --parent->left == 0) {
        flow_parent_renew(f, parent);
    }
    return FLOW_ROW;
}

/* Traders who know the fair value take every quote that is through it, and pay no more than it. */
static int informed_candidate(flow *f, const flow_quotes *q, int64_t ts, md_row *out)
{
    const flow_config *c = &f->config;
    double gap = 0.0;
    int side = MD_SIDE_BUY;
    if (q->has[MD_SIDE_SELL]) {
        gap = f->fair_ticks - (double)q->price_ticks[MD_SIDE_SELL];
    }
    if (gap <= 0.0 && q->has[MD_SIDE_BUY]) {
        gap = (double)q->price_ticks[MD_SIDE_BUY] - f->fair_ticks;
        side = MD_SIDE_SELL;
    }
    if (gap <= 0.0 || !happens(f, gap / c->informed_scale_ticks)) {
        return FLOW_NONE;
    }
    int64_t limit = side == MD_SIDE_BUY ? flow_floor_ticks(f->fair_ticks) : flow_ceil_ticks(f->fair_ticks);
    const int64_t best = q->price_ticks[!side];
    if (side == MD_SIDE_BUY && limit > best + c->protection_ticks) {
        limit = best + c->protection_ticks;
    } else if (side == MD_SIDE_SELL && limit < best - c->protection_ticks) {
        limit = best - c->protection_ticks;
    }
    const int status = market_row(f, q, ts, side, limit, out);
    if (status == FLOW_ROW) {
        f->totals.markets_informed[side]++;
    }
    return status;
}

static void cancel_row(flow *f, const book_order_view *view, int64_t ts, md_row *out)
{
    f->totals.cancels[view->side]++;
    row_write(f, out, ts, MD_DELETE, view->side, view->order_id, view->price, view->leaves_qty, MD_FLAG_LAST);
}

static int cancel_candidate(flow *f, const book *b, const flow_quotes *q, int64_t ts, md_row *out)
{
    const flow_config *c = &f->config;
    const int64_t index = random_below(&f->random, (uint32_t)f->table_n);
    const flow_entry entry = f->table[index];
    const int64_t anchor = anchor_ticks(f, q, entry.side);
    int64_t distance = entry.side == MD_SIDE_BUY ? anchor - entry.price_ticks : entry.price_ticks - anchor;
    if (distance < 1) {
        distance = 1;
    } else if (distance > c->levels_n) {
        distance = c->levels_n;
    }
    double keep = c->cancel_hz[distance - 1] / f->cancel_hz_max;
    if (c->cancel_adverse > 0.0) {
        const double against = entry.side == MD_SIDE_BUY ? -imbalance(q) : imbalance(q);
        keep *= (1.0 + c->cancel_adverse * (against > 0.0 ? against : 0.0)) / (1.0 + c->cancel_adverse);
    }
    if (!happens(f, keep)) {
        return FLOW_NONE;
    }
    book_order_view view;
    if (book_order_get(b, entry.order_id, &view) != 1) {
        table_remove(f, index); /* filled, or removed by somebody else */
        return FLOW_NONE;
    }
    const int64_t lots = view.leaves_qty / c->lot;
    if (lots > 1 && happens(f, c->reduce_probability)) {
        const uint32_t choices = lots - 1 < UINT32_MAX ? (uint32_t)(lots - 1) : UINT32_MAX;
        const int64_t cut = (1 + (int64_t)random_below(&f->random, choices)) * c->lot;
        f->totals.reduces[entry.side]++;
        row_write(f, out, ts, MD_REDUCE, entry.side, entry.order_id, view.price, cut, MD_FLAG_LAST);
        return FLOW_ROW;
    }
    table_remove(f, index);
    cancel_row(f, &view, ts, out);
    return FLOW_ROW;
}

/* Owners of quotes through the fair value race to pull them. */
static int stale_candidate(flow *f, const book *b, int32_t symbol, const flow_quotes *q, int64_t ts, md_row *out)
{
    const int side = side_through_fair(f, q);
    const int64_t place = random_below(&f->random, FLOW_STALE_SCAN);
    if (side == MD_SIDE_NONE) {
        return FLOW_NONE;
    }
    book_order_view views[FLOW_STALE_SCAN];
    if (book_orders(b, symbol, side, views, FLOW_STALE_SCAN) <= place) {
        return FLOW_NONE;
    }
    const book_order_view *view = &views[place];
    const double price_ticks = (double)price_to_ticks(f, view->price);
    const int own = view->order_id >= f->config.order_id_first && view->order_id < f->order_id_next;
    if (!own || (side == MD_SIDE_BUY ? price_ticks <= f->fair_ticks : price_ticks >= f->fair_ticks)) {
        return FLOW_NONE;
    }
    f->totals.cancels_stale[side]++;
    table_forget(f, view->order_id);
    cancel_row(f, view, ts, out);
    return FLOW_ROW;
}

static void regime_candidate(flow *f, int64_t ts)
{
    const flow_regime *g = &f->config.regimes[f->regime];
    double u = random_unit(&f->random);
    int32_t chosen = 0;
    for (int32_t i = 0; i < f->config.regimes_n; i++) {
        if (g->next[i] > 0.0) {
            chosen = i; /* the last possible one takes what rounding leaves of the sum */
            u -= g->next[i];
            if (u < 0.0) {
                break;
            }
        }
    }
    f->totals.regime_ns[f->regime] += ts - f->regime_since;
    f->totals.regime_changes++;
    f->regime_since = ts;
    f->regime = chosen;
}

static int candidate(flow *f, const book *b, int32_t symbol, const flow_quotes *q, int64_t ts, md_row *out)
{
    const flow_rates *r = &f->rates[f->regime];
    double u = random_unit(&f->random) * flow_rate_bound(f);
    if ((u -= r->limits) < 0.0) {
        return limit_candidate(f, b, q, ts, out);
    }
    if (f->table_n > 0 && (u -= (double)f->table_n * r->cancel_per_order) < 0.0) {
        return cancel_candidate(f, b, q, ts, out);
    }
    if ((u -= r->markets) < 0.0) {
        return market_candidate(f, q, ts, out);
    }
    const int through = f->through != MD_SIDE_NONE;
    if (through && (u -= r->informed) < 0.0) {
        return informed_candidate(f, q, ts, out);
    }
    if (through && (u -= r->stale) < 0.0) {
        return stale_candidate(f, b, symbol, q, ts, out);
    }
    if ((u -= r->fair) < 0.0) {
        fair_move(f, f->rates[f->regime].fair_step_ticks * random_normal(&f->random));
    } else if (r->regime > 0.0) {
        regime_candidate(f, ts);
    }
    return FLOW_NONE;
}

int flow_next(flow *f, const book *b, int32_t symbol, int64_t until_ts, md_row *out)
{
    if (f == NULL || b == NULL || out == NULL) {
        return FLOW_ERR_ARGUMENT;
    }
    if (until_ts < f->ts) {
        return FLOW_ERR_TIME;
    }
    if (f->ts_next == FLOW_NOT_SCHEDULED) {
        schedule(f);
    }
    flow_quotes q;
    int quotes_known = 0;
    for (;;) {
        if (f->ts_next >= f->config.ts_end) {
            return FLOW_END;
        }
        if (f->ts_next > until_ts) {
            return FLOW_NONE;
        }
        if (!quotes_known) { /* the book stands still until we return a row */
            quotes_read(f, b, symbol, &q);
            quotes_known = 1;
        }
        const random_stream before = f->random;
        const int status = candidate(f, b, symbol, &q, f->ts_next, out);
        if (status < 0) {
            f->random = before; /* asked again, it decides the same candidate again */
            return status;
        }
        f->ts = f->ts_next;
        f->totals.candidates++;
        f->through = side_through_fair(f, &q);
        schedule(f);
        if (status == FLOW_ROW) {
            return FLOW_ROW;
        }
    }
}
