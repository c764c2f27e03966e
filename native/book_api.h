/* book_api.h: the matching engine. Price-time priority, many symbols, integers only.
 *
 * (The paragraph that says why the data structure fits the data stands in book.c.)
 *
 * Rules of the interface:
 *  - Opaque handle. All memory is taken in book_new; no call after it allocates. A full table is a
 *    negative code and changes nothing.
 *  - Check everything, then mutate: a negative return has had no effect.
 *  - Results are book_report records written to the caller's buffer, oldest first.
 *  - A venue's refusal (bad tick, would cross while post-only, ...) is not an error code: it is a report
 *    of kind BOOK_REPORT_REJECTED with a reason. Error codes are for the caller's mistakes and limits.
 *
 * Plain declarations only: this file is both the cffi definition and what the C sources include.
 */

typedef struct book book;

#define BOOK_SIDE_BUY 0
#define BOOK_SIDE_SELL 1

#define BOOK_TYPE_LIMIT 0
#define BOOK_TYPE_MARKET 1
#define BOOK_TYPE_STOP 2        /* market once the last trade reaches trigger_price */
#define BOOK_TYPE_STOP_LIMIT 3

#define BOOK_TIF_GTC 0
#define BOOK_TIF_IOC 1
#define BOOK_TIF_FOK 2
#define BOOK_TIF_DAY 3          /* leaves with book_end_of_day */
#define BOOK_TIF_GTD 4          /* leaves when book time reaches expire_ts */
#define BOOK_TIF_OPG 5          /* takes part in the next uncross only */

#define BOOK_FLAG_POST_ONLY 1        /* reject instead of taking */
#define BOOK_FLAG_POST_ONLY_SLIDE 2  /* reprice one tick away from the opposite best instead of taking */
#define BOOK_FLAG_REDUCE_ONLY 4      /* never increases the owner's absolute position */

#define BOOK_STP_NONE 0
#define BOOK_STP_CANCEL_NEWEST 1
#define BOOK_STP_CANCEL_OLDEST 2
#define BOOK_STP_CANCEL_BOTH 3
#define BOOK_STP_DECREMENT 4         /* both shrink by the smaller quantity, no trade */

#define BOOK_REPORT_ACCEPTED 0  /* in the book (or parked as a stop); price is where it rests, after a slide */
#define BOOK_REPORT_TRADE 1     /* order_id is the taker, contra_id the maker, price the maker's */
#define BOOK_REPORT_CANCELED 2  /* qty left the book; reason says why */
#define BOOK_REPORT_REJECTED 3  /* a new order that never lived */
#define BOOK_REPORT_REPLACED 4
#define BOOK_REPORT_CANCEL_REJECTED 5
#define BOOK_REPORT_REPLACE_REJECTED 6
#define BOOK_REPORT_TRIGGERED 7 /* a stop became live */
#define BOOK_REPORT_EXPIRED 8   /* DAY, GTD or OPG ran out */
#define BOOK_REPORT_RESTATED 9  /* quantity decremented by self-trade prevention or reduce-only; leaves_qty is what is left */

/* Reasons, in reports. */
#define BOOK_REASON_NONE 0
#define BOOK_REASON_REQUESTED 1       /* the owner asked */
#define BOOK_REASON_IOC 2             /* remainder of IOC or market */
#define BOOK_REASON_FOK 3             /* not fillable at once */
#define BOOK_REASON_POST_ONLY 4       /* would have taken */
#define BOOK_REASON_SELF_TRADE 5
#define BOOK_REASON_REDUCE_ONLY 6
#define BOOK_REASON_UNKNOWN_ORDER 7
#define BOOK_REASON_DUPLICATE_ID 8
#define BOOK_REASON_BAD_PRICE 9       /* not positive or outside the symbol's band */
#define BOOK_REASON_BAD_TICK 10
#define BOOK_REASON_BAD_QTY 11        /* not positive, below min, above max, or off the lot */
#define BOOK_REASON_BAD_FIELD 12      /* unknown side, type, tif, flag, or a contradiction between them */
#define BOOK_REASON_NO_LIQUIDITY 13   /* market order met an empty side */
#define BOOK_REASON_MASS_CANCEL 14
#define BOOK_REASON_CLOSED 15         /* symbol is not trading */
#define BOOK_REASON_FULL 16           /* the order pool or a table is full */
#define BOOK_REASON_NO_CHANGE 17      /* replace that changes nothing */
#define BOOK_REASON_BAD_TRIGGER 18    /* stop whose trigger is already passed is triggered at once; this is a bad value */
#define BOOK_REASON_SIMULATED_REJECT 19 /* never the book's own: the simulated venue refuses at random when asked to */

/* Error codes, returned. */
#define BOOK_OK 0
#define BOOK_ERR_ARGUMENT -1
#define BOOK_ERR_SYMBOL -2
#define BOOK_ERR_REPORTS_FULL -3      /* the caller's report buffer cannot hold the worst case: drain and repeat */
#define BOOK_ERR_CORRUPT -4           /* book_check found a broken invariant */

typedef struct {
    int64_t orders_max;    /* live orders over all symbols, stops included */
    int64_t levels_max;    /* distinct live prices over all symbols */
    int32_t symbols_max;
    int32_t owners_max;    /* distinct owner ids whose position is tracked */
    int32_t stp_mode;      /* BOOK_STP_* */
    int32_t reserved;
} book_config;

typedef struct {
    int64_t tick;          /* price must be a multiple; > 0 */
    int64_t lot;           /* qty must be a multiple; > 0 */
    int64_t qty_min;
    int64_t qty_max;
    int64_t price_min;     /* inclusive band; price_min > 0 unless negative prices are meant */
    int64_t price_max;
} book_symbol;

typedef struct {
    int64_t order_id;      /* > 0; unique among live orders of this book */
    int64_t owner;         /* account: self-trade prevention, reduce-only, mass cancel; 0: none */
    int64_t price;
    int64_t trigger_price;
    int64_t qty;
    int64_t display_qty;   /* iceberg peak; 0 or >= qty: all displayed */
    int64_t expire_ts;     /* GTD */
    int32_t symbol;
    uint8_t side;
    uint8_t order_type;
    uint8_t time_in_force;
    uint8_t flags;
} book_order;

typedef struct {
    int64_t ts;
    int64_t order_id;
    int64_t contra_id;     /* trades: the maker */
    int64_t price;
    int64_t qty;           /* traded, cancelled, or accepted quantity */
    int64_t leaves_qty;    /* of order_id, after this report */
    int64_t contra_leaves_qty; /* trades: of the maker */
    int32_t symbol;
    uint8_t kind;
    uint8_t reason;
    uint8_t side;          /* of order_id */
    uint8_t reserved;
} book_report;             /* 64 bytes: one cache line */

typedef struct {
    int64_t price;
    int64_t qty;           /* displayed */
    int64_t orders;        /* displayed orders */
} book_level;

typedef struct {
    int64_t order_id;
    int64_t owner;
    int64_t price;
    int64_t qty;           /* displayed */
    int64_t leaves_qty;    /* displayed and hidden */
    int32_t symbol;
    uint8_t side;
    uint8_t order_type;
    uint8_t time_in_force;
    uint8_t flags;
} book_order_view;

book *book_new(const book_config *config);
void book_free(book *b);
int book_symbol_add(book *b, const book_symbol *symbol);      /* index >= 0, or an error */

/* One message. reports receives at most cap records; returns how many, or an error that had no effect. */
int64_t book_submit(book *b, int64_t ts, const book_order *order, book_report *reports, int64_t cap);
int64_t book_cancel(book *b, int64_t ts, int64_t order_id, book_report *reports, int64_t cap);
/* New total remaining quantity and price. Same price and smaller quantity keeps its place in the queue. */
int64_t book_replace(book *b, int64_t ts, int64_t order_id, int64_t qty, int64_t price, book_report *reports, int64_t cap);
/* owner 0: everyone; symbol -1: all; side -1: both. */
int64_t book_mass_cancel(book *b, int64_t ts, int64_t owner, int32_t symbol, int32_t side, book_report *reports, int64_t cap);
/* Market-data replay: the named resting order loses qty by a trade printed elsewhere (no taker here), or by
 * cancellation. Reports TRADE with taker 0, or CANCELED / RESTATED. */
int64_t book_execute_resting(book *b, int64_t ts, int64_t order_id, int64_t qty, book_report *reports, int64_t cap);
int64_t book_reduce(book *b, int64_t ts, int64_t order_id, int64_t qty, book_report *reports, int64_t cap);
/* Time passes: GTD orders whose expire_ts <= ts leave. */
int64_t book_advance(book *b, int64_t ts, book_report *reports, int64_t cap);
int64_t book_end_of_day(book *b, int64_t ts, int32_t symbol, book_report *reports, int64_t cap);

/* Cheapest single-message entry: GTC limit without owner, and cancel, on symbol; reports go to the buffer given
 * by book_reports_attach, from its start. Returns the number of reports. */
int book_reports_attach(book *b, book_report *reports, int64_t cap);
int64_t book_limit(book *b, int64_t order_id, int side, int64_t price, int64_t qty);
int64_t book_cancel_fast(book *b, int64_t order_id);

/* Many messages in columns (op 0: new GTC limit, 1: cancel), on one symbol. Stops early when the report buffer cannot
 * take the next message. Returns messages done; *n_reports is how many records were written. reports may be
 * NULL with cap 0: then nothing is reported and only totals (below) are kept. */
int64_t book_batch(book *b, int32_t symbol, int64_t n, const int64_t *ts, const int64_t *op, const int64_t *order_id,
                   const int64_t *side, const int64_t *price, const int64_t *qty,
                   book_report *reports, int64_t cap, int64_t *n_reports);

/* Auctions: between book_auction_begin and book_uncross orders rest without matching (the book may cross). The
 * uncross trades everything it can at the one price that maximises volume, then minimises imbalance, then is nearest to
 * reference_price; ties by price go to the lower one. */
int book_auction_begin(book *b, int32_t symbol);
int book_auction_price(const book *b, int32_t symbol, int64_t reference_price, int64_t *price, int64_t *volume, int64_t *imbalance);
int64_t book_uncross(book *b, int64_t ts, int32_t symbol, int64_t reference_price, book_report *reports, int64_t cap);
int book_status_set(book *b, int32_t symbol, int status);      /* MD_STATUS_TRADING or _CLOSED */

/* Views. Prices of an empty side are reported by a 0 return, never by a magic price. */
int book_best(const book *b, int32_t symbol, int side, book_level *out);                       /* 1 or 0 */
int64_t book_levels(const book *b, int32_t symbol, int side, book_level *out, int64_t cap);     /* L2, best first */
int64_t book_orders(const book *b, int32_t symbol, int side, book_order_view *out, int64_t cap); /* L3, priority order */
int book_order_get(const book *b, int64_t order_id, book_order_view *out);                      /* 1 or 0 */
int64_t book_queue_ahead(const book *b, int64_t order_id);     /* displayed qty before it at its price; -1 unknown id */
int64_t book_level_qty(const book *b, int32_t symbol, int side, int64_t price);
int64_t book_live_orders(const book *b);
int64_t book_last_price(const book *b, int32_t symbol, int64_t *price); /* 1 or 0 */
int64_t book_position(const book *b, int64_t owner, int32_t symbol);
int book_position_set(book *b, int64_t owner, int32_t symbol, int64_t position);
/* Every invariant, slowly: BOOK_OK or BOOK_ERR_CORRUPT. */
int book_check(const book *b);

/* Sums since book_new (64-bit, wrapping): kept also where nobody reads reports. */
typedef struct {
    int64_t trades;
    int64_t volume;        /* sum of qty */
    int64_t notional;      /* sum of qty * price */
    int64_t accepted;
    int64_t canceled;
    int64_t rejected;      /* new orders, cancels and replaces refused */
} book_totals;

int book_totals_get(const book *b, book_totals *out);
/* FNV-1a over (maker, taker, price, qty) of the TRADE records, one step a word, continued from `state`;
 * start with BOOK_FNV_START. It lets a test or a benchmark compare 200,000 trades as one number. */
#define BOOK_FNV_START 0xCBF29CE484222325
uint64_t book_reports_fnv(const book_report *reports, int64_t n, uint64_t state);
/* on 1: book_batch leaves out ACCEPTED and CANCELED (who sent the batch knows what it asked for): trades, refusals and what
 * stops do are still reported. */
int book_batch_quiet(book *b, int on);
/* Does nothing with five integers: the price of a call alone, for the benchmark. */
int64_t book_noop5(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e);
