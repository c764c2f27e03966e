/* venue_api.h: the simulated venue and everything between it and the trader: latency, queues, timers, and
 * the filter that decides when Python is woken at all.
 *
 * Two clocks run over one tape of md_row. The venue's clock (ts_event) moves the venue's own book and matches our orders;
 * the local clock (ts_init) moves what we can see. An order sent at local time t reaches the venue at t + entry latency, and its
 * answer reaches us a response latency later. venue_run advances both until the trader has something to decide.
 *
 * Fidelity is chosen for each instrument:
 *  VENUE_L2    levels and trades: our orders live beside the recorded book; a queue model says how much is ahead.
 *  VENUE_L3    order by order: our orders live in the native book together with all others and move the market.
 *  VENUE_FLOW  as L3, the rows come from the seeded generator instead of a tape.
 *
 * Plain declarations only: this file is both the cffi definition and what the C sources include.
 */

typedef struct venue venue;

#define VENUE_L2 0
#define VENUE_L3 1
#define VENUE_FLOW 2

#define VENUE_QUEUE_RISK_AVERSE 0
#define VENUE_QUEUE_POWER 1        /* f(x) = x^n        p = f(back) / (f(back) + f(front)) */
#define VENUE_QUEUE_LOG 2          /* f(x) = ln(1 + x) */

#define VENUE_LATENCY_CONSTANT 0
#define VENUE_LATENCY_LOGNORMAL 1
#define VENUE_LATENCY_TABLE 2      /* linear interpolation over recorded (ts, entry, response) */

/* What the trader asked to be woken for, per instrument. Everything else stays in C. */
#define VENUE_WAKE_BEST 1          /* best bid or ask price changed at a packet's end */
#define VENUE_WAKE_BEST_QTY 2      /* best price or quantity changed */
#define VENUE_WAKE_BOOK 4          /* every packet */
#define VENUE_WAKE_TRADE 8         /* every public trade */
#define VENUE_WAKE_ORDER 16        /* order answers wake at once; otherwise they come with the next wake-up (fills always wake) */
#define VENUE_WAKE_STATUS 32       /* halts and gaps (always delivered; this makes them wake) */

/* Event kinds. order_id is the client_order_id. */
#define VENUE_EV_QUOTE 1           /* a bid_price b bid_qty c ask_price d ask_qty; qty 0: side empty */
#define VENUE_EV_TRADE 2           /* a price b qty c aggressor side (MD_SIDE_*) d trade id */
#define VENUE_EV_TIMER 3           /* a timer id */
#define VENUE_EV_STATUS 4          /* a MD_STATUS_* */
#define VENUE_EV_GAP 5
#define VENUE_EV_ACCEPTED 10       /* a price (after a slide) b leaves_qty */
#define VENUE_EV_REJECTED 11       /* a reason (BOOK_REASON_*) */
#define VENUE_EV_FILL 12           /* a price b qty c leaves_qty d 0 maker 1 taker, + 2 when we sold e execution id */
#define VENUE_EV_CANCELED 13       /* a quantity cancelled b reason */
#define VENUE_EV_EXPIRED 14        /* a quantity */
#define VENUE_EV_REPLACED 15       /* a price b leaves_qty */
#define VENUE_EV_TRIGGERED 16
#define VENUE_EV_CANCEL_REJECTED 17  /* a reason */
#define VENUE_EV_REPLACE_REJECTED 18 /* a reason */
#define VENUE_EV_RESTATED 19       /* a leaves_qty b reason */

#define VENUE_OK 0
#define VENUE_NEED_DATA 0          /* venue_run: every row given was used; feed more or finish */
#define VENUE_ERR_ARGUMENT -1
#define VENUE_ERR_FULL -2          /* an in-flight queue, order table or timer table is full */
#define VENUE_ERR_TAPE_ORDER -3    /* ts_event or ts_init went backwards; venue_error_row says where */
#define VENUE_ERR_TAPE_CROSSED -4  /* the recorded book is crossed at a packet's end */
#define VENUE_ERR_TAPE_ROW -5      /* unknown kind, negative quantity, unknown instrument or order id */
#define VENUE_ERR_TIME -6          /* a command or timer lies before the local clock */
#define VENUE_DONE -100            /* venue_run: finished, nothing is in flight */

typedef struct {
    int64_t ts_init;
    int64_t ts_event;
    int64_t kind;
    int64_t instrument;
    int64_t order_id;
    int64_t a, b, c, d, e;
} venue_event;                     /* ten int64: Python reads one with a single struct.unpack_from */

typedef struct {
    int64_t tick, lot, qty_min, qty_max, price_min, price_max;
    int64_t orders_max;            /* L3 and FLOW: live orders in the book */
    int64_t levels_max;
    int32_t fidelity;
    int32_t queue_model;
    double queue_power;            /* n of VENUE_QUEUE_POWER */
    int32_t wake;                  /* VENUE_WAKE_* bits */
    int32_t check_crossed;         /* 1: a crossed recorded book stops with VENUE_ERR_TAPE_CROSSED; 0: it is counted */
    int64_t wake_interval_ns;      /* with WAKE_BEST/BEST_QTY/BOOK: at most one quote wake-up each so many ns; 0: no throttle */
} venue_instrument;

typedef struct {
    int32_t kind;                  /* VENUE_LATENCY_* */
    int32_t reserved;
    int64_t entry_ns, response_ns; /* CONSTANT; LOGNORMAL: the medians */
    double entry_sigma, response_sigma;
    uint64_t seed;
    const int64_t *table;          /* TABLE: rows of (ts, entry, response); copied by venue_new */
    int64_t table_rows;
} venue_latency;

typedef struct {
    int64_t orders_max;            /* own orders alive or in flight */
    int64_t timers_max;
    int64_t feed_latency_ns;       /* L3 and FLOW rows carry ts_init = ts_event + this; tapes bring their own ts_init */
    int32_t instruments_max;
    int32_t stp_mode;
    int32_t reject_per_million;    /* seeded random rejects of new orders, for tests of the strategy's manners */
    int32_t reserved;
    venue_latency latency;
} venue_config;

typedef struct {
    int64_t client_order_id;       /* > 0 */
    int64_t price, trigger_price, qty, display_qty, expire_ts;
    int64_t filled_qty;            /* replace only: the fills its sender knew of; -1: not said */
    int32_t instrument;
    uint8_t side, order_type, time_in_force, flags;   /* as in book_api.h */
} venue_order;

typedef struct {
    int64_t rows;                  /* rows used by the local clock */
    int64_t rows_venue;            /* rows used by the venue's clock */
    int64_t wakeups;               /* returns of venue_run with at least one event */
    int64_t events;                /* events delivered */
    int64_t orders, cancels, replaces; /* commands that reached the venue */
    int64_t fills;
    int64_t crossed;               /* packets after which the recorded book was crossed */
    int64_t gaps;
    int64_t unknown_ids;           /* L3 rows that named an order we never saw */
} venue_totals;

venue *venue_new(const venue_config *config);
void venue_free(venue *v);
int venue_instrument_add(venue *v, const venue_instrument *instrument);   /* index, or an error */

/* VENUE_FLOW: rows come from this generator (borrowed), its initial book now. One flow per instrument. Without a tape, call
 * venue_finish: the run ends when every flow has. With several flows each is decided on its own book as of the last thing that
 * happened to it. */
int venue_flow_attach(venue *v, int32_t instrument, flow *f);

/* Borrow the next rows of the tape. They must stay alive until venue_run returns VENUE_NEED_DATA before until_ts is reached, or the
 * next venue_feed: rows that only the venue's clock has used are then kept in a buffer of our own. VENUE_ERR_ARGUMENT while rows of
 * the feed before are unused. A row's ts_event must not lie after its ts_init. */
int venue_feed(venue *v, const md_row *rows, int64_t n);
int venue_finish(venue *v);                     /* no more rows: what is in flight runs out */
/* Promise that no later row has ts_init < ts: both clocks may go on to ts - 1 without rows (live feeds). Without it they wait
 * one ns before the last row fed, because more rows of that ns may follow. */
int venue_horizon(venue *v, int64_t ts);
/* Run to the next wake-up, or until the local clock reaches until_ts. At most cap events, the oldest first; all those
 * that became visible at or before the wake-up. > 0: events; VENUE_NEED_DATA; VENUE_DONE; or an error.
 * Reaching until_ts without an event returns VENUE_NEED_DATA with venue_now() == until_ts. */
int64_t venue_run(venue *v, int64_t until_ts, venue_event *out, int64_t cap);
int64_t venue_now(const venue *v);              /* local clock */
int64_t venue_error_row(const venue *v);        /* index of the row, counted over all rows fed, of the last error */

/* Commands, at the local clock's now (before the first event: at the first row's ts_event; before any row: VENUE_ERR_TIME). They leave
 * at once and arrive after the entry latency. */
int venue_submit(venue *v, const venue_order *order);
int venue_submit_limit(venue *v, int32_t instrument, int64_t client_order_id, int side_tif_flags, int64_t price, int64_t qty);
int venue_cancel(venue *v, int64_t client_order_id);
/* qty is the new remaining quantity, counted from filled_qty: fills made by the venue since then come off it, as at venues that count
 * an amended order's total. filled_qty -1: qty is what remains on arrival, whatever was filled. */
int venue_replace(venue *v, int64_t client_order_id, int64_t qty, int64_t filled_qty, int64_t price);
int venue_mass_cancel(venue *v, int32_t instrument);   /* -1: all */
int venue_timer(venue *v, int64_t ts, int64_t timer_id);
int venue_timer_cancel(venue *v, int64_t timer_id);
int venue_end_of_day(venue *v, int32_t instrument);    /* DAY orders expire at the venue's now */

/* Our position at the venue, for reduce-only orders: what is carried over from an earlier run. */
int venue_position_set(venue *v, int32_t instrument, int64_t position);

/* What we can see (local clock), and what only the venue knows (for tests and reports). */
int64_t venue_depth(const venue *v, int32_t instrument, int side, book_level *out, int64_t cap);
int64_t venue_depth_at_venue(const venue *v, int32_t instrument, int side, book_level *out, int64_t cap);
int64_t venue_queue_ahead(const venue *v, int64_t client_order_id);   /* -1 unknown */
int venue_totals_get(const venue *v, venue_totals *out);
int venue_check(const venue *v);
