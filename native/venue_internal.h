/* venue_internal.h: the structures that the venue_*.c files share, and the inline steps of the hot path. */
#ifndef VENUE_INTERNAL_H
#define VENUE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef BOOK_INTERNAL_H /* the *_api.h files are cffi definitions and carry no guards of their own */
#include "market_data_api.h"
#include "book_api.h"
#endif
#include "flow_api.h"
#include "venue_api.h"
#include "random.h"
#include "venue_ladder.h"

#define VENUE_LIKELY(x) __builtin_expect(!!(x), 1)
#define VENUE_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define VENUE_INLINE static inline __attribute__((always_inline))

#define VENUE_TIME_MAX INT64_MAX
#define VENUE_ORDERS_LIMIT ((int64_t)1 << 24)
#define VENUE_QTY_LIMIT ((int64_t)1 << 52)     /* queue positions are doubles: every quantity must be exact in one */
#define VENUE_WAKE_QUOTE (VENUE_WAKE_BEST | VENUE_WAKE_BEST_QTY | VENUE_WAKE_BOOK)
#define VENUE_KINDS 17

/* What an own order is doing at the venue. An order in flight is a command, not an order. */
#define OWN_FREE 0
#define OWN_RESTING 1
#define OWN_PARKED 2
#define OWN_ENTERING 3      /* being matched: in no queue yet */

typedef struct {
    int64_t id;
    int64_t price;         /* of a stop: its limit */
    int64_t trigger_price;
    int64_t leaves;
    int64_t filled;
    int64_t shown;         /* displayed part of leaves; the whole of it unless an iceberg */
    int64_t display_qty;   /* peak; 0: all displayed */
    int64_t expire_ts;     /* VENUE_TIME_MAX unless GTD, or DAY where days end */
    double ahead;          /* L2: estimated recorded quantity before us at our price */
    int64_t traded;        /* L2: printed at our price since the level's last update, so that the update is not counted twice */
    int32_t instrument;
    int32_t next;          /* free list */
    uint8_t state, side, order_type, time_in_force, flags;
} own_order;

/* Own orders of one side, best first, then by arrival: sorted arrays, because a trader rests a handful. */
typedef struct {
    int64_t *key;          /* ladder key of the price; key[0] is read by the hot path through best_key */
    int32_t *index;
    int32_t n;
    int64_t best_key;      /* LADDER_EMPTY: none */
} own_side;

/* Liquidity our takers took from recorded levels, by level, best first. */
typedef struct {
    int64_t *key;
    int64_t *qty;
    int32_t n, cap;
} overlay;

typedef struct {
    ladder side[2];
    uint8_t levels_seen[2]; /* MD_LEVEL rows came since the last MD_CLEAR: a MD_BBO row then corrects, else it replaces */
} depth;

/* A recorded order whose quantity in our book differs from what the tape says is left of it, because of what we did. */
typedef struct {
    int64_t id;            /* 0: free */
    int64_t left;          /* by the tape */
} ghost;

/* The exchange of one instrument with an order-by-order book. */
typedef struct {
    book *book;            /* symbol 0 */
    book_report *reports;
    int64_t reports_cap;
    ghost *ghosts;         /* open addressing by id */
    uint32_t ghost_mask;
    int32_t n_ghosts, ghosts_max;
    int32_t n_own;         /* own orders in the book, parked stops too */
    bool open;             /* the packet under way has told something */
    flow *source;          /* FLOW */
    md_row pending;        /* the generator's next row */
    bool has_pending, source_ended;
} venue_l3;

typedef struct {
    /* The local clock's view, and what was last told. */
    depth local;
    int64_t quoted_key[2], quoted_qty[2];
    int64_t quote_ts;      /* when the last quote was told */
    int64_t quote_due;     /* throttled change waits until then; VENUE_TIME_MAX: none */
    int64_t packet_ts_event;
    uint8_t local_gap;
    int32_t wake;
    /* The venue's clock. */
    depth book;
    own_side own[2];
    overlay taken[2];
    int32_t *parked;       /* stops, in order of arrival */
    int32_t n_parked;
    int64_t position;      /* ours, for reduce-only */
    int64_t last_price;
    int64_t packet_low, packet_high; /* trade prices of the packet; low > high: none */
    uint8_t has_last, status, gap;
    int32_t index;
    venue_instrument rules;
    venue_l3 *l3;          /* L3 and FLOW; NULL: L2 */
} instrument;

/* A command on its way to the venue. */
#define COMMAND_SUBMIT 0
#define COMMAND_CANCEL 1
#define COMMAND_REPLACE 2
#define COMMAND_MASS_CANCEL 3
typedef struct {
    int64_t arrival_ts;
    int32_t kind;
    int32_t reserved;
    venue_order order;     /* CANCEL: client_order_id; REPLACE: also qty and price; MASS_CANCEL: instrument */
} command;

/* Fixed ring; positions only grow, and index = position & mask. */
typedef struct {
    command *items;
    uint64_t head, tail, mask;
} command_ring;

typedef struct {
    venue_event *items;
    uint64_t head, tail, mask;
} event_ring;

/* What the feed of an order-by-order venue tells: a level's new total, a print, or that a side starts again. */
typedef struct {
    int64_t visible_ts, ts_event;
    int64_t price, qty;
    int32_t instrument;
    uint8_t kind;          /* MD_LEVEL, MD_TRADE, MD_CLEAR, MD_STATUS, MD_GAP */
    uint8_t side;
    uint8_t last;          /* the packet ends here */
    uint8_t reserved;
} feed_message;

typedef struct {
    feed_message *items;
    uint64_t head, tail, mask;
} feed_ring;

typedef struct {
    int64_t ts, id;
    uint64_t sequence;
} timer;

typedef struct {
    venue_latency config;
    int64_t *table;
    int64_t cursor[2];     /* TABLE: row last used, entry and response */
    random_stream random[2]; /* entry and response: one's draws never shift the other's */
} latency_model;

struct venue {
    /* The tape. Rows of earlier feeds that the local clock has not reached are carried in a buffer of our own. */
    const md_row *row_venue, *row_end;
    const md_row *row_local, *row_local_end;
    const md_row *fed;     /* first row of the last feed */
    int64_t fed_before;    /* rows fed before `fed` */
    md_row *carry;
    int64_t carry_cap;
    int64_t safe_ts;       /* both clocks stay before this */
    int64_t tape_ts_event, tape_ts_init;
    bool finished;
    bool wake;             /* something in the inbox is worth a wake-up */
    int error;
    int64_t error_row;
    int64_t clock_local, clock_venue;
    int64_t start_ts;      /* of the first row: what is sent before the first event leaves then; INT64_MIN: no row yet */
    /* Heads of the queues, so that the hot loop compares plain fields; VENUE_TIME_MAX: empty. */
    int64_t command_ts, answer_ts, feed_ts, timer_ts, quote_due, expiry_ts;
    /* expiry_ts is the earlier of these. All DAY orders end together, so that counting them says when; GTD orders are searched. */
    int64_t timed_ts, day_ts;
    int64_t n_day;
    int64_t answer_last_ts, arrival_last_ts;
    command_ring commands;
    int64_t submits_in_flight;
    feed_ring feed;        /* told by order-by-order venues, not visible yet */
    int64_t feed_last_ts;
    event_ring answers;    /* made by the venue, not visible yet */
    event_ring inbox;      /* visible, not delivered yet */
    timer *timers;
    int64_t n_timers;
    uint64_t timer_sequence;
    own_order *orders;
    int32_t *order_table;  /* open addressing by client_order_id; index + 1, 0: empty */
    uint32_t order_mask;
    int32_t free_order;
    int64_t n_orders;
    int64_t execution_id;
    instrument *instruments;
    int32_t n_instruments;
    int32_t n_flows;       /* generators that have not ended */
    int32_t flow_at;       /* instrument of the row that flow_peek found */
    bool has_l3;
    venue_config config;
    latency_model latency;
    random_stream random_reject;
    venue_totals totals;
};

/* ---- venue_setup.c ---- */
void tape_release(venue *v);

/* ---- venue_latency.c ---- */
int latency_init(latency_model *m, const venue_latency *config);
int64_t latency_entry_ns(latency_model *m, int64_t ts);
int64_t latency_response_ns(latency_model *m, int64_t ts);

/* ---- venue_gateway.c ---- */
void venue_command_arrive(venue *v);
void venue_expire(venue *v, int64_t ts);
own_order *own_find(const venue *v, int64_t id);
own_order *own_new(venue *v, const venue_order *order);
void own_free(venue *v, own_order *o);
int own_reason(const venue *v, const instrument *in, const venue_order *o);
/* Queues an answer of the venue's now; sticky VENUE_ERR_FULL when the ring cannot hold it. */
void answer_put(venue *v, int32_t instrument, int64_t kind, int64_t id, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e);
void timer_pop(venue *v);

/* ---- venue_l2.c ---- */
void l2_submit(venue *v, instrument *in, const venue_order *order);
void l2_cancel(venue *v, instrument *in, own_order *o, int64_t kind, int64_t reason);
void l2_replace(venue *v, instrument *in, own_order *o, int64_t qty, int64_t price);
void l2_level_own(venue *v, instrument *in, int side, int64_t key, int64_t before, int64_t after);
void l2_trade(venue *v, instrument *in, const md_row *row);
void l2_packet_end_own(venue *v, instrument *in);
void l2_clear(venue *v, instrument *in);
int l2_bbo(venue *v, instrument *in, const md_row *row);
int64_t overlay_get(const overlay *o, int64_t key);

/* ---- venue_l3.c ---- */
int l3_new(venue *v, instrument *in);
void l3_free(venue_l3 *x);
void l3_submit(venue *v, instrument *in, const venue_order *order);
void l3_cancel(venue *v, instrument *in, own_order *o);
void l3_replace(venue *v, instrument *in, own_order *o, int64_t qty, int64_t price);
void l3_mass_cancel(venue *v, instrument *in);
void l3_end_of_day(venue *v, instrument *in);
void l3_expire(venue *v, instrument *in, int64_t ts);
int l3_row(venue *v, instrument *in, const md_row *row);       /* VENUE_OK or an error */
int64_t l3_depth(const instrument *in, int side, book_level *out, int64_t cap);
int64_t l3_queue_ahead(const venue *v, const instrument *in, const own_order *o);
bool l3_check(const venue *v, const instrument *in);

/* ---- venue_feed.c ---- */
int feed_grow(venue *v);
/* Time of the next generated row up to `until`, or VENUE_TIME_MAX; the row waits in its instrument. */
int64_t flow_peek(venue *v, int64_t until);
void flow_use(venue *v);

VENUE_INLINE own_order *own_at(const venue *v, const own_side *s, int32_t i)
{
    return &v->orders[s->index[i]];
}

/* Own orders in an order-by-order book: ids of a range of their own, by place in the pool. */
#define OWN_BOOK_ID ((int64_t)1 << 62)
#define SEED_BOOK_ID ((int64_t)1 << 61)        /* recorded ids lie below; quantity seeded without ids (id < 0) above */
#define OWN_OWNER 1

VENUE_INLINE int64_t own_book_id(const venue *v, const own_order *o)
{
    return OWN_BOOK_ID + (o - v->orders);
}

/* Tells something of an order-by-order venue; what is told later is never seen earlier. */
VENUE_INLINE void feed_put(venue *v, instrument *in, int64_t visible_ts, int kind, int side, int64_t price, int64_t qty)
{
    feed_ring *ring = &v->feed;
    if (VENUE_UNLIKELY(ring->tail - ring->head > ring->mask) && feed_grow(v) != VENUE_OK) {
        v->error = VENUE_ERR_FULL;
        return;
    }
    if (visible_ts < v->feed_last_ts)
        visible_ts = v->feed_last_ts;
    v->feed_last_ts = visible_ts;
    if (ring->head == ring->tail)
        v->feed_ts = visible_ts;
    feed_message *m = &ring->items[ring->tail++ & ring->mask];
    m->visible_ts = visible_ts;
    m->ts_event = v->clock_venue;
    m->price = price;
    m->qty = qty;
    m->instrument = in->index;
    m->kind = (uint8_t)kind;
    m->side = (uint8_t)side;
    m->last = 0;
    in->l3->open = true;
}

VENUE_INLINE uint64_t ring_count(uint64_t head, uint64_t tail)
{
    return tail - head;
}

/* An empty ring begins at its front again: one that wandered on would touch all of its memory in time, and never the same lines of
 * the cache twice. */
VENUE_INLINE void ring_rewind(uint64_t *head, uint64_t *tail)
{
    *head = *tail = 0;
}

#endif
