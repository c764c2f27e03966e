/* book_internal.h: the structures that the book_*.c files share, and the inline steps of the hot path. */
#ifndef BOOK_INTERNAL_H
#define BOOK_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "market_data_api.h"
#include "book_api.h"

#define BOOK_LIKELY(x) __builtin_expect(!!(x), 1)
#define BOOK_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define BOOK_INLINE static inline __attribute__((always_inline))

/* Parked stops rest on levels of their own, keyed by trigger price: side + BOOK_STOPS. */
#define BOOK_STOPS 2
#define BOOK_SIDES 4

#define BOOK_ORDERS_LIMIT ((int64_t)1 << 28)
#define BOOK_QTY_SUM_MAX ((int64_t)1 << 62)      /* no sum of live quantities can pass this */
#define BOOK_POSITION_MAX ((int64_t)1 << 62)     /* positions stop here instead of overflowing */

/* Why an order needs more than the plain path. */
#define ORDER_OWNED 1
#define ORDER_ICEBERG 2
#define ORDER_REDUCE_ONLY 4
#define ORDER_TIMED 8

typedef struct {
    int64_t id;
    int64_t qty;           /* displayed; a parked stop: all of it */
    int64_t hidden;        /* behind the displayed peak */
    int64_t owner;
    int32_t next, prev;    /* in its level's queue; next links the free list */
    int32_t level;         /* 0: in no queue (being matched) */
    int32_t owner_index;   /* 0: none */
    int32_t symbol;
    uint8_t side, order_type, time_in_force, flags;
    uint8_t special;       /* ORDER_* */
    uint8_t reserved[7];
} order;                   /* 64 bytes: one cache line */

/* What matching a plain order never reads. */
typedef struct {
    int64_t price;
    int64_t trigger_price;
    int64_t display_qty;   /* 0: all displayed */
    int64_t expire_ts;
    int64_t timed_sequence; /* GTD orders that expire together leave in the order they came */
    int64_t heap_index;
} order_detail;

typedef struct {
    int64_t price;
    int64_t qty;           /* displayed */
    int64_t hidden;
    int32_t head, tail;
    int32_t orders;
    int32_t next, prev;    /* worse, better: the side's levels in price order */
    int32_t left, right;   /* treap: better, worse */
    int32_t side_index;    /* symbol * BOOK_SIDES + side */
    int32_t reserved[2];
} level;                   /* 64 bytes */

typedef struct {
    book_symbol rules;
    int32_t best[BOOK_SIDES];
    int32_t root[BOOK_SIDES];
    int64_t orders[BOOK_SIDES];
    int64_t peaks[BOOK_SIDES];   /* replenishments that icebergs still have: each may be one more trade */
    int64_t reduce_only;         /* live reduce-only orders */
    int64_t last_price;
    int64_t elect_low, elect_high; /* trade prices since stops were last looked at; low > high: none */
    int32_t index;
    uint8_t has_last;
    uint8_t status;
    uint8_t reserved[2];
} symbol_book;

/* Open addressing, linear probing, deletion by moving back. An entry is (upper half of the hash << 32) | index, so that a
 * probe compares without touching what it points to, and a move back knows where each entry wants to be. */
typedef struct {
    uint64_t *entries;
    uint32_t mask;
    uint32_t shift;        /* home slot = upper half >> shift */
} index_table;

struct book {
    order *orders;
    order_detail *details;
    level *levels;
    symbol_book *symbols;
    index_table order_table;
    index_table level_table;
    int64_t live;
    int64_t levels_used;
    int32_t free_order, free_level;
    int32_t symbols_used;
    int32_t owners_used;
    book_config config;
    int64_t ts_last;
    int64_t timed_sequence;
    int32_t *timed;        /* binary heap of GTD orders by (expire_ts, timed_sequence) */
    int64_t timed_used;
    int64_t *owners;       /* owner ids by index, from 1 */
    int32_t *owner_table;
    int64_t *positions;    /* [owner_index * symbols_max + symbol] */
    uint32_t owner_mask;
    book_report *attached;
    int64_t attached_cap;
    book_totals totals;
    bool quiet;            /* batches leave out ACCEPTED and CANCELED of plain orders */
};

/* Where reports go; next is NULL where nobody reads them. */
typedef struct {
    book_report *next;
    int64_t ts;
} report_sink;

/* An incoming order while it matches. */
typedef struct {
    int64_t id;
    int64_t price;         /* worst acceptable; the int64 limits for market orders */
    int64_t named_price;   /* what reports call its price; 0 for market orders */
    int64_t left;
    int64_t owner;
    int32_t owner_index;
    int32_t symbol;
    uint8_t side;
    uint8_t special;
    uint8_t stopped;       /* self-trade prevention ended it; its cancellation is reported */
} taker;

/* book_tables.c */
int32_t book_level_make(book *b, int32_t side_index, int64_t price);   /* never fails: room was checked */
void book_level_drop(book *b, int32_t level_index);
int32_t book_owner_find(const book *b, int64_t owner);
int32_t book_owner_make(book *b, int64_t owner);                       /* 0: full or no owner */
void book_timed_add(book *b, int32_t order_index);
void book_timed_remove(book *b, int32_t order_index);
int32_t book_order_load(book *b, const book_order *o, int64_t price, int32_t owner_index);
int64_t book_order_peaks(const book *b, int32_t order_index);
void book_order_rest(book *b, int32_t order_index, int side, int64_t price);
void book_order_unlink(book *b, int32_t order_index);
void book_order_free(book *b, int32_t order_index);
void book_order_shrink(book *b, int32_t order_index, int64_t qty);     /* hidden first; keeps its place; 0 < qty < leaves */
void book_order_leave(book *b, int32_t order_index, int kind, int reason, report_sink *out);

/* book_match.c */
void book_match(book *b, symbol_book *s, taker *t, report_sink *out);
int64_t book_submit_plain(book *b, symbol_book *s, int64_t id, int side, int64_t price, int64_t qty, report_sink *out,
                          int64_t cap);
int64_t book_cancel_plain(book *b, int64_t id, report_sink *out);
int64_t book_reports_worst(const book *b, const symbol_book *s, const taker *t, int64_t peaks);
int64_t book_reports_worst_all(const symbol_book *s, int64_t more);
void book_position_add(book *b, int32_t owner_index, int32_t symbol, int side, int64_t qty);
void book_trade_mark(book *b, symbol_book *s, int64_t price, int64_t qty); /* totals, last price, what stops will see */
void book_replenish(book *b, symbol_book *s, int32_t order_index);

/* book_submit.c */
int64_t book_submit_auction_limit(book *b, symbol_book *s, int64_t id, int side, int64_t price, int64_t qty, report_sink *out,
                                  int64_t cap);
int book_order_reason(const book *b, const symbol_book *s, int64_t ts, const book_order *o, int64_t *price);
void book_order_enter(book *b, symbol_book *s, int32_t order_index, report_sink *out);

/* book_stops.c */
bool book_stop_passed(const symbol_book *s, int side, int64_t trigger_price);
bool book_stops_within(const book *b, const symbol_book *s, int64_t low, int64_t high);
void book_stops_run(book *b, symbol_book *s, report_sink *out);
void book_stop_activate(book *b, symbol_book *s, int32_t order_index, report_sink *out);

BOOK_INLINE uint32_t hash_word(uint64_t x)
{
    x ^= x >> 32;
    return (uint32_t)((x * 0x9E3779B97F4A7C15u) >> 32);
}

BOOK_INLINE uint32_t hash_id(int64_t id)
{
    return hash_word((uint64_t)id);
}

/* Prices of a ladder are neighbours in the table: eight consecutive ones share a cache line, and lines are placed at random.
 * (Ids are not, though they come in sequence: deleting one would find its neighbour's slot taken and search on.) */
BOOK_INLINE uint32_t hash_level(const index_table *t, int32_t side_index, int64_t price)
{
    const uint32_t line = hash_word(((uint64_t)price >> 3) + (uint64_t)(uint32_t)side_index * 0xD1B54A32D192ED03u);
    return (line & ~((uint32_t)7 << t->shift)) | ((uint32_t)(price & 7) << t->shift);
}

BOOK_INLINE void table_put(index_table *t, uint32_t hash, int32_t index)
{
    uint32_t slot = hash >> t->shift;
    while (t->entries[slot])
        slot = (slot + 1) & t->mask;
    t->entries[slot] = ((uint64_t)hash << 32) | (uint32_t)index;
}

BOOK_INLINE void table_take(index_table *t, uint32_t hash, int32_t index)
{
    const uint64_t wanted = ((uint64_t)hash << 32) | (uint32_t)index;
    uint32_t hole = hash >> t->shift;
    while (t->entries[hole] != wanted)
        hole = (hole + 1) & t->mask;
    for (uint32_t slot = hole;;) {
        slot = (slot + 1) & t->mask;
        const uint64_t entry = t->entries[slot];
        if (!entry)
            break;
        const uint32_t home = (uint32_t)(entry >> 32) >> t->shift;
        if (((slot - home) & t->mask) >= ((slot - hole) & t->mask)) {
            t->entries[hole] = entry;
            hole = slot;
        }
    }
    t->entries[hole] = 0;
}

BOOK_INLINE int32_t order_find(const book *b, int64_t id)
{
    const index_table *t = &b->order_table;
    const uint32_t hash = hash_id(id);
    for (uint32_t slot = hash >> t->shift;; slot = (slot + 1) & t->mask) {
        const uint64_t entry = t->entries[slot];
        if (!entry)
            return 0;
        if ((uint32_t)(entry >> 32) == hash && b->orders[(uint32_t)entry].id == id)
            return (int32_t)(uint32_t)entry;
    }
}

BOOK_INLINE int32_t level_find(const book *b, int32_t side_index, int64_t price)
{
    const index_table *t = &b->level_table;
    const uint32_t hash = hash_level(t, side_index, price);
    for (uint32_t slot = hash >> t->shift;; slot = (slot + 1) & t->mask) {
        const uint64_t entry = t->entries[slot];
        if (!entry)
            return 0;
        if ((uint32_t)(entry >> 32) == hash) {
            const level *l = &b->levels[(uint32_t)entry];
            if (l->price == price && l->side_index == side_index)
                return (int32_t)(uint32_t)entry;
        }
    }
}

/* Bids and sell stops: the highest price comes first. Asks and buy stops: the lowest. */
BOOK_INLINE bool side_ascends(int side)
{
    return ((side ^ (side >> 1)) & 1) != 0;
}

BOOK_INLINE bool crosses(int side, int64_t price, int64_t opposite)
{
    /* Arithmetic and not a branch: nobody can predict the side of the next order. */
    const int above = price >= opposite, below = price <= opposite;
    return (above & (side ^ 1)) | (below & side);
}

BOOK_INLINE void report_put(report_sink *out, int kind, int reason, int32_t symbol, int side, int64_t id, int64_t contra,
                            int64_t price, int64_t qty, int64_t leaves, int64_t contra_leaves)
{
    book_report *r = out->next;
    if (!r)
        return;
    r->ts = out->ts;
    r->order_id = id;
    r->contra_id = contra;
    r->price = price;
    r->qty = qty;
    r->leaves_qty = leaves;
    r->contra_leaves_qty = contra_leaves;
    r->symbol = symbol;
    r->kind = (uint8_t)kind;
    r->reason = (uint8_t)reason;
    r->side = (uint8_t)side;
    r->reserved = 0;
    out->next = r + 1;
}

/* To the back of an existing level's queue. `plain`: it hides nothing, and hidden quantities need no look. */
BOOK_INLINE void queue_append(book *b, int32_t level_index, int32_t order_index, bool plain)
{
    level *l = &b->levels[level_index];
    order *o = &b->orders[order_index];
    o->level = level_index;
    o->next = 0;
    o->prev = l->tail;
    if (l->tail)
        b->orders[l->tail].next = order_index;
    else
        l->head = order_index;
    l->tail = order_index;
    l->orders++;
    l->qty += o->qty;
    if (!plain)
        l->hidden += o->hidden;
}

BOOK_INLINE void queue_remove(book *b, order *o, bool plain)
{
    level *l = &b->levels[o->level];
    if (o->prev)
        b->orders[o->prev].next = o->next;
    else
        l->head = o->next;
    if (o->next)
        b->orders[o->next].prev = o->prev;
    else
        l->tail = o->prev;
    l->orders--;
    l->qty -= o->qty;
    if (!plain)
        l->hidden -= o->hidden;
}

BOOK_INLINE int64_t order_leaves(const order *o)
{
    return o->qty + o->hidden;
}

BOOK_INLINE bool order_parked(const book *b, const order *o)
{
    return (b->levels[o->level].side_index & BOOK_STOPS) != 0;
}

/* The price an order is known by: where it rests, or its limit while it is parked (0 without one). */
BOOK_INLINE int64_t order_price(const book *b, int32_t order_index)
{
    const order *o = &b->orders[order_index];
    if (o->level && !order_parked(b, o))
        return b->levels[o->level].price;
    return b->details[order_index].price;
}

BOOK_INLINE int64_t *position_of(const book *b, int32_t owner_index, int32_t symbol)
{
    return &b->positions[(int64_t)owner_index * b->config.symbols_max + symbol];
}

/* How much an order of this side may take off the position. */
BOOK_INLINE int64_t reducible(const book *b, int32_t owner_index, int32_t symbol, int side)
{
    const int64_t position = owner_index ? *position_of(b, owner_index, symbol) : 0;
    if (side == BOOK_SIDE_BUY)
        return position < 0 ? -position : 0;
    return position > 0 ? position : 0;
}

#endif
