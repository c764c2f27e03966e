/* flow_api.h: the seeded order-flow generator, the embedded default market.
 *
 * A continuous-time Markov chain over the real book (docs/MARKET-MODEL.md): Poisson limit orders by distance from the best
 * quotes, market orders of informed and uninformed traders, cancellations per live order, a latent fair value and a volatility
 * regime. Every rate has a bound that the generator knows at its last candidate, so events are drawn by thinning: the
 * time of the next candidate stands, whatever others do to the book until then, and what happens at it is decided from
 * the book as it is then. Orders of a strategy are part of the state the market reacts to.
 *
 * Use: apply flow_snapshot's rows to the book, then repeatedly
 *     flow_next(f, b, symbol, until_ts, &row)   with until_ts = the next moment at which somebody else touches the book
 *     1: apply the row to the book at row.ts_event before the next call; 0: the clock may go to until_ts.
 * Rows at until_ts itself come before the other one's order.
 *
 * The generator keeps a table of its live orders. Orders that the book filled, or that somebody else removed, are found
 * when they are next picked (book_order_get) and dropped; a row never names an order that the book does not hold.
 * Order ids are order_id_first, order_id_first + 1, …, below 2^62. No memory is taken after flow_new.
 *
 * Plain declarations only: this file is both the cffi definition and what the C sources include.
 */

typedef struct flow flow;

#define FLOW_LEVELS_MAX 64
#define FLOW_REGIMES_MAX 4
#define FLOW_PARENTS_MAX 64

/* What the distance of a limit order is counted from; distance 1 is the closest price that cannot trade. */
#define FLOW_ANCHOR_OPPOSITE 0   /* the opposite best quote (Cont, Stoikov and Talreja 2010) */
#define FLOW_ANCHOR_FAIR 1       /* the fair value as a fixed reference price (Huang, Lehalle and Rosenbaum 2015) */

#define FLOW_ROW 1
#define FLOW_NONE 0              /* nothing up to until_ts */
#define FLOW_ERR_ARGUMENT -1
#define FLOW_ERR_FULL -2         /* orders_max generator orders are alive in the book */
#define FLOW_ERR_IDS -3          /* order ids have run out */
#define FLOW_ERR_TIME -4         /* until_ts lies before the generator's clock */
#define FLOW_ERR_CORRUPT -5      /* flow_check found a broken invariant */
#define FLOW_END -100            /* ts_end is reached: no more rows */

typedef struct {
    double duration_s;           /* mean stay, exponential; 0 with regimes_n == 1 */
    double volatility_ticks;     /* of the fair value, ticks per square root of a second */
    double limit_factor;         /* multiplies limit_hz */
    double market_factor;        /* multiplies market_hz and informed_hz */
    double cancel_factor;        /* multiplies cancel_hz and stale_hz */
    double edge_ticks;           /* informed limit orders keep at least this far from the fair value */
    double next[4];              /* probability of each following regime; sums to 1, 0 for itself */
} flow_regime;

typedef struct {
    uint64_t seed;
    int64_t ts_start;            /* ns UTC */
    int64_t ts_end;              /* no row at or after this; > ts_start */
    int64_t feed_latency_ns;     /* ts_init = ts_event + this */
    int64_t tick;                /* points; > 0 */
    int64_t lot;                 /* units; > 0 */
    int64_t price_min;           /* inclusive; no order outside */
    int64_t price_max;
    int64_t price_start;         /* first fair value: halfway between this price and the next tick up */
    int64_t orders_max;          /* the generator's own live orders */
    int64_t order_id_first;      /* > 0; distinct ranges for flows that share a book */
    int32_t instrument;          /* of the rows */
    int32_t anchor;              /* FLOW_ANCHOR_* */
    int32_t levels_n;            /* used entries of limit_hz and cancel_hz, 1..FLOW_LEVELS_MAX */
    int32_t regimes_n;           /* 1..FLOW_REGIMES_MAX */
    int32_t regime_start;
    int32_t snapshot_levels;     /* initial book: prices on each side */
    int32_t snapshot_bid_orders; /* and orders at each of them */
    int32_t snapshot_ask_orders;
    int32_t parents_n;           /* parent orders that market orders are slices of; 0: independent signs */
    int32_t reserved;
    double limit_hz[64];         /* limit orders of one side, per second, at distance 1, 2, … */
    double cancel_hz[64];        /* cancellations per live order and second at distance 1, 2, …; the last one beyond */
    double market_hz;            /* uninformed market orders of one side, per second */
    double informed_hz;          /* informed market orders per second while the fair value is far outside the quotes */
    double informed_scale_ticks; /* their rate is informed_hz times min(1, distance outside the quotes / this); > 0 */
    double stale_hz;             /* extra cancellations per second of each order priced through the fair value */
    double fair_hz;              /* moves of the fair value per second; > 0 where any volatility is */
    double join_probability;     /* limit order at its own side's best quote instead of the drawn distance */
    double limit_informed;       /* share of limit orders that keep edge_ticks from the fair value */
    double market_imbalance;     /* 0..1: market orders follow the queue imbalance; weight (1 + this * imbalance) */
    double cancel_adverse;       /* >= 0: cancels speed up by 1 + this * imbalance against the order's side */
    double impact_ticks;         /* the surprise in an uninformed market order's sign moves the fair value so far, for good */
    double sweep_probability;    /* market order may take more than the best level shows; otherwise it is cut to it */
    double reduce_probability;   /* cancellation takes a part of the order only */
    double limit_size_median;    /* lots, log-normal */
    double limit_size_sigma;     /* standard deviation of ln size; 0: every size is the median */
    double market_size_median;
    double market_size_sigma;
    double round_probability;    /* size rounded to a multiple of round_lots, where it is at least half of that */
    double parent_alpha;         /* tail exponent of a parent order's number of slices; > 1 */
    int64_t size_max_lots;
    int64_t round_lots;
    int64_t protection_ticks;    /* market orders carry a limit price so far through the best quote */
    flow_regime regimes[4];
} flow_config;

/* For tests, reports and the live display. Counters count rows since flow_new. */
typedef struct {
    int64_t ts;                  /* of the last candidate that was decided */
    int64_t ts_next;             /* of the next candidate */
    int64_t fair_price;          /* fair value, rounded down to a point */
    double fair_ticks;           /* fair value in ticks */
    double rate_hz;              /* bound of all rates now */
    int64_t orders_live;         /* table entries; some may have been filled since */
    int64_t order_id_next;
    int64_t limits[2];           /* by side */
    int64_t markets[2];
    int64_t markets_informed[2]; /* of markets */
    int64_t cancels[2];
    int64_t cancels_stale[2];    /* of cancels */
    int64_t reduces[2];
    int64_t candidates;          /* thinning: candidates drawn, rows included */
    int64_t regime_changes;
    int64_t regime_ns[4];        /* time spent in each */
    int32_t regime;
    int32_t reserved;
} flow_view;

flow *flow_new(const flow_config *config);            /* NULL: no memory, or flow_config_error names a field */
void flow_free(flow *f);
/* limit_hz by distance: total_hz shared out over distances 1..levels_n in proportion to distance^-exponent. Here, so that
 * no platform's pow decides the last bit. */
int flow_power_law(double total_hz, double exponent, int32_t levels_n, double *out);
const char *flow_config_error(const flow_config *config); /* NULL, or the first bad field and its rule */
/* The initial book: call once, first. Rows written, or FLOW_ERR_FULL (cap or orders_max too small), FLOW_ERR_ARGUMENT. */
int64_t flow_snapshot(flow *f, md_row *out, int64_t cap);
int flow_next(flow *f, const book *b, int32_t symbol, int64_t until_ts, md_row *out);
/* Gives row to the book as the venue does: the number of reports, or a BOOK_ERR_*. */
int64_t flow_apply(book *b, int32_t symbol, const md_row *row, book_report *reports, int64_t cap);
/* flow_apply for n rows: rows done, fewer where the book returned an error. A recorded tape of the generator on a fresh book. */
int64_t flow_replay(book *b, int32_t symbol, const md_row *rows, int64_t n, book_report *reports, int64_t cap);
/* flow_next and flow_apply until until_ts, ts_end or cap rows; rows may be NULL (nothing is kept). Returns rows done;
 * *status says why it stopped: FLOW_ROW (cap), FLOW_NONE (until_ts), FLOW_END, or an error of flow_next or of the book. */
int64_t flow_run(flow *f, book *b, int32_t symbol, int64_t until_ts, md_row *rows, int64_t cap, int *status);
int flow_state(const flow *f, flow_view *out);
/* Every invariant of the generator, and of its table against the book, slowly: 0 or FLOW_ERR_CORRUPT. */
int flow_check(flow *f, const book *b, int32_t symbol);
