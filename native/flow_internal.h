/* flow_internal.h: the generator's state, shared by the flow*.c files only. */
#ifndef TRADINGD_FLOW_INTERNAL_H
#define TRADINGD_FLOW_INTERNAL_H

#include <stdint.h>

#include "market_data_api.h"

#include "book_api.h"

#include "flow_api.h"

#include "random.h"

/* How many of a side's first orders the stale-quote class looks at. */
#define FLOW_STALE_SCAN 8
/* How many of the newest table entries are searched for an order that left by name. */
#define FLOW_FORGET_SCAN 64
#define FLOW_ORDER_ID_MAX (INT64_C(1) << 62)
#define FLOW_NOT_SCHEDULED INT64_C(-1)

typedef struct {
    int64_t order_id;
    int64_t price_ticks;
    int32_t side;
    int32_t reserved;
} flow_entry;

/* Log-normal sizes in whole lots. Most of the 1024 slices of (0, 1) lie inside one size: where both edges of a slice give the
 * same lots, so does everything between (the quantile is monotone), and the draw is one look-up. */
#define FLOW_SIZE_SLICES 1024

typedef struct {
    double median_lots;
    double sigma;
    int64_t lots_max;
    int32_t edge[FLOW_SIZE_SLICES + 1];
    int32_t reserved;
} flow_size_law;

/* A large order that its owner trades in slices: why signs of market orders have a long memory. */
typedef struct {
    int64_t left;
    int32_t side;
    int32_t reserved;
} flow_parent;

/* Bounds of the candidate rates in one regime, per second, both sides together. */
typedef struct {
    double limits;
    double markets;
    double fair;
    double regime;
    double quiet;            /* sum of the above */
    double informed;         /* these two only while a best quote is through the fair value */
    double stale;
    double cancel_per_order;
    double fair_step_ticks;  /* standard deviation of one move of the fair value */
} flow_rates;

struct flow {
    flow_config config;
    random_stream random;
    int64_t ts;              /* of the last decided candidate */
    int64_t ts_next;         /* FLOW_NOT_SCHEDULED until drawn */
    int64_t regime_since;
    double ts_fraction_ns;   /* carried, so that rounding to nanoseconds does not slow the clock */
    double wait;             /* the next exponential of mean 1, drawn ahead */
    double fair_ticks;
    double cancel_hz_max;
    double limit_cumulative[FLOW_LEVELS_MAX]; /* of limit_hz, scaled to end at 1 */
    int64_t tick_min;        /* the band in ticks */
    int64_t tick_max;
    int64_t order_id_next;
    int64_t table_n;
    flow_entry *table;       /* dense: a uniform pick is one index */
    book_report *reports;    /* flow_run's */
    int64_t reports_cap;
    int64_t *check_ids;      /* flow_check's */
    book_order_view *check_views;
    flow_view totals;        /* counters only; flow_state fills in the rest */
    flow_size_law limit_size;
    flow_size_law market_size;
    flow_rates rates[FLOW_REGIMES_MAX];
    flow_parent parents[FLOW_PARENTS_MAX];
    int32_t regime;
    int32_t through;         /* side whose best quote was through the fair value at the last candidate, or MD_SIDE_NONE */
};

static inline int64_t flow_floor_ticks(double x)
{
    const int64_t whole = (int64_t)x;
    return (double)whole > x ? whole - 1 : whole;
}

static inline int64_t flow_ceil_ticks(double x)
{
    return -flow_floor_ticks(-x);
}

static inline int64_t flow_floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static inline double flow_rate_bound(const flow *f)
{
    const flow_rates *r = &f->rates[f->regime];
    return r->quiet + (double)f->table_n * r->cancel_per_order + (f->through != MD_SIDE_NONE ? r->informed + r->stale : 0.0);
}

/* Lots of the size law at probability u. */
int64_t flow_size_lots(const flow_size_law *law, double u);
/* A new parent order: its side, and how many slices it trades in. */
void flow_parent_renew(flow *f, flow_parent *parent);
/* Log-normal size in units: a multiple of the lot between one lot and size_max_lots. */
int64_t flow_size(flow *f, const flow_size_law *law);
/* Puts a new order into the table and writes its row. The table must have room. */
void flow_limit_row(flow *f, int64_t ts, int side, int64_t price_ticks, int64_t qty, uint16_t flags, md_row *out);

#endif
