/* book.c: the life of a book: memory, symbols, status, positions, totals.
 *
 * Why this structure fits the data. Order flow is a stream of adds and cancels of which most touch one price and one queue
 * place, and a few sweep the best prices. Ids are arbitrary 64-bit numbers; prices may be a dense ladder (equities, a hundred
 * ticks deep) or a few thousand distinct values spread over 10^9 ticks (coins), so an array indexed by tick fits one and not the
 * other. Hence:
 *  - An order is one cache line in a fixed pool and sits in a doubly linked queue: arrival, cancel and fill are O(1).
 *  - An id finds its order by open addressing; 8-byte entries carry half of the hash, so a probe reads one line.
 *  - A price finds its level by a second such table: O(1) for any 64-bit price, without a window to move or a range to choose.
 *  - The levels of a side are linked best to worst: the next best price after a sweep is one pointer away. Only the birth of
 *    a level needs a search, by a treap threaded through the levels themselves, O(log levels) and no further memory. Births are
 *    one message in a hundred on a dense ladder, and in a sparse book the levels are few.
 *  - Parked stops are queues on levels of their own keyed by trigger price, so that price-then-time order, cancels, mass cancels
 *    and checks are the same code.
 * All of it is taken in book_new from three pools sized by the caller; full is a refusal, never a resize.
 */

#include <stdlib.h>
#include <string.h>

#include "book_internal.h"

static bool table_new(index_table *t, int64_t items)
{
    uint32_t bits = 3;
    while (((int64_t)1 << bits) < 2 * items)
        bits++;
    const size_t bytes = ((size_t)1 << bits) * sizeof *t->entries;
    t->entries = aligned_alloc(64, bytes);
    if (t->entries)
        memset(t->entries, 0, bytes);
    t->mask = (uint32_t)(((uint64_t)1 << bits) - 1);
    t->shift = 32 - bits;
    return t->entries != NULL;
}

static bool config_ok(const book_config *c)
{
    return c->orders_max > 0 && c->orders_max <= BOOK_ORDERS_LIMIT && c->levels_max > 0 && c->levels_max <= BOOK_ORDERS_LIMIT
        && c->symbols_max > 0 && c->symbols_max <= 1 << 24 && c->owners_max >= 0 && c->owners_max <= 1 << 24
        && c->stp_mode >= BOOK_STP_NONE && c->stp_mode <= BOOK_STP_DECREMENT
        && (int64_t)c->symbols_max * ((int64_t)c->owners_max + 1) <= (int64_t)1 << 40;
}

static bool tables_new(book *b)
{
    const book_config *c = &b->config;
    uint32_t owner_slots = 4;
    while (owner_slots < 2 * ((uint32_t)c->owners_max + 1))
        owner_slots *= 2;
    b->owner_mask = owner_slots - 1;
    /* Index 0 means none everywhere; orders have one slot more for an order that is being matched. */
    b->orders = aligned_alloc(64, ((size_t)c->orders_max + 2) * sizeof *b->orders);
    b->levels = aligned_alloc(64, ((size_t)c->levels_max + 1) * sizeof *b->levels);
    b->details = calloc((size_t)c->orders_max + 2, sizeof *b->details);
    b->timed = calloc((size_t)c->orders_max + 2, sizeof *b->timed);
    b->symbols = calloc((size_t)c->symbols_max, sizeof *b->symbols);
    b->owners = calloc((size_t)c->owners_max + 1, sizeof *b->owners);
    b->owner_table = calloc(owner_slots, sizeof *b->owner_table);
    b->positions = calloc(((size_t)c->owners_max + 1) * (size_t)c->symbols_max, sizeof *b->positions);
    return b->orders && b->levels && b->details && b->timed && b->symbols && b->owners && b->owner_table && b->positions
        && table_new(&b->order_table, c->orders_max + 2) && table_new(&b->level_table, c->levels_max + 1);
}

book *book_new(const book_config *config)
{
    if (!config || !config_ok(config))
        return NULL;
    book *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->config = *config;
    if (!tables_new(b)) {
        book_free(b);
        return NULL;
    }
    memset(b->orders, 0, ((size_t)config->orders_max + 2) * sizeof *b->orders);
    memset(b->levels, 0, ((size_t)config->levels_max + 1) * sizeof *b->levels);
    for (int64_t i = 1; i <= config->orders_max; i++)
        b->orders[i].next = (int32_t)(i + 1);
    for (int64_t i = 1; i < config->levels_max; i++)
        b->levels[i].next = (int32_t)(i + 1);
    for (int64_t i = 1; i <= config->levels_max; i++)
        b->levels[i].side_index = -1;
    b->free_order = 1;
    b->free_level = 1;
    return b;
}

void book_free(book *b)
{
    if (!b)
        return;
    free(b->orders);
    free(b->levels);
    free(b->details);
    free(b->timed);
    free(b->symbols);
    free(b->owners);
    free(b->owner_table);
    free(b->positions);
    free(b->order_table.entries);
    free(b->level_table.entries);
    free(b);
}

int book_symbol_add(book *b, const book_symbol *symbol)
{
    if (!b || !symbol || symbol->tick <= 0 || symbol->lot <= 0 || symbol->qty_min < 0 || symbol->qty_max < symbol->qty_min
        || symbol->qty_max <= 0 || symbol->price_max < symbol->price_min)
        return BOOK_ERR_ARGUMENT;
    if (b->symbols_used == b->config.symbols_max)
        return BOOK_ERR_SYMBOL;
    const int32_t index = b->symbols_used++;
    symbol_book *s = &b->symbols[index];
    s->rules = *symbol;
    /* Whatever the caller allows, no sum over live orders may overflow. */
    const int64_t qty_limit = BOOK_QTY_SUM_MAX / (b->config.orders_max + 2);
    if (s->rules.qty_max > qty_limit)
        s->rules.qty_max = qty_limit;
    if (s->rules.qty_min < 1)
        s->rules.qty_min = 1;
    s->index = index;
    s->elect_low = INT64_MAX;
    s->elect_high = INT64_MIN;
    s->status = MD_STATUS_TRADING;
    return index;
}

int book_status_set(book *b, int32_t symbol, int status)
{
    if (!b)
        return BOOK_ERR_ARGUMENT;
    if (symbol < 0 || symbol >= b->symbols_used)
        return BOOK_ERR_SYMBOL;
    /* Only the uncross ends an auction: until then the book may be crossed. */
    if (status < MD_STATUS_TRADING || status > MD_STATUS_CLOSED || status == MD_STATUS_AUCTION
        || b->symbols[symbol].status == MD_STATUS_AUCTION)
        return BOOK_ERR_ARGUMENT;
    b->symbols[symbol].status = (uint8_t)status;
    return BOOK_OK;
}

int book_reports_attach(book *b, book_report *reports, int64_t cap)
{
    if (!b || cap < 0 || (cap > 0 && !reports))
        return BOOK_ERR_ARGUMENT;
    b->attached = cap ? reports : NULL;
    b->attached_cap = cap;
    return BOOK_OK;
}

int book_batch_quiet(book *b, int on)
{
    if (!b || (on & ~1) != 0)
        return BOOK_ERR_ARGUMENT;
    b->quiet = on != 0;
    return BOOK_OK;
}

int64_t book_position(const book *b, int64_t owner, int32_t symbol)
{
    if (!b || symbol < 0 || symbol >= b->symbols_used)
        return 0;
    const int32_t owner_index = book_owner_find(b, owner);
    return owner_index ? *position_of(b, owner_index, symbol) : 0;
}

int book_position_set(book *b, int64_t owner, int32_t symbol, int64_t position)
{
    if (!b || owner == 0 || position > BOOK_POSITION_MAX || position < -BOOK_POSITION_MAX)
        return BOOK_ERR_ARGUMENT;
    if (symbol < 0 || symbol >= b->symbols_used)
        return BOOK_ERR_SYMBOL;
    const int32_t owner_index = book_owner_make(b, owner);
    if (!owner_index)
        return BOOK_ERR_ARGUMENT;
    *position_of(b, owner_index, symbol) = position;
    return BOOK_OK;
}

int book_totals_get(const book *b, book_totals *out)
{
    if (!b || !out)
        return BOOK_ERR_ARGUMENT;
    *out = b->totals;
    return BOOK_OK;
}

uint64_t book_reports_fnv(const book_report *reports, int64_t n, uint64_t state)
{
    for (int64_t i = 0; reports && i < n; i++) {
        const book_report *r = &reports[i];
        if (r->kind != BOOK_REPORT_TRADE)
            continue;
        const int64_t words[4] = {r->contra_id, r->order_id, r->price, r->qty};
        for (int k = 0; k < 4; k++)
            state = (state ^ (uint64_t)words[k]) * 0x100000001B3u;
    }
    return state;
}

int64_t book_noop5(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e)
{
    return a ^ b ^ c ^ d ^ e;
}
