/* book_views.c: what a caller may look at: best prices, levels, orders, queue places. Nothing here changes the book. */

#include "book_internal.h"

static const symbol_book *symbol_of(const book *b, int32_t symbol)
{
    return b && symbol >= 0 && symbol < b->symbols_used ? &b->symbols[symbol] : NULL;
}

static void level_view(const level *l, book_level *out)
{
    out->price = l->price;
    out->qty = l->qty;
    out->orders = l->orders;
}

static void order_view(const book *b, int32_t index, book_order_view *out)
{
    const order *o = &b->orders[index];
    *out = (book_order_view){.order_id = o->id, .owner = o->owner, .price = order_price(b, index), .qty = o->qty,
                             .leaves_qty = order_leaves(o), .symbol = o->symbol, .side = o->side, .order_type = o->order_type,
                             .time_in_force = o->time_in_force, .flags = o->flags};
}

int book_best(const book *b, int32_t symbol, int side, book_level *out)
{
    const symbol_book *s = symbol_of(b, symbol);
    if (!s || !out || (side & ~1) != 0 || !s->best[side])
        return 0;
    level_view(&b->levels[s->best[side]], out);
    return 1;
}

int64_t book_levels(const book *b, int32_t symbol, int side, book_level *out, int64_t cap)
{
    const symbol_book *s = symbol_of(b, symbol);
    if (!s)
        return b ? BOOK_ERR_SYMBOL : BOOK_ERR_ARGUMENT;
    if ((side & ~(BOOK_SIDES - 1)) != 0 || cap < 0 || (cap > 0 && !out))
        return BOOK_ERR_ARGUMENT;
    int64_t n = 0;
    for (int32_t at = s->best[side]; at && n < cap; at = b->levels[at].next)
        level_view(&b->levels[at], &out[n++]);
    return n;
}

int64_t book_orders(const book *b, int32_t symbol, int side, book_order_view *out, int64_t cap)
{
    const symbol_book *s = symbol_of(b, symbol);
    if (!s)
        return b ? BOOK_ERR_SYMBOL : BOOK_ERR_ARGUMENT;
    if ((side & ~(BOOK_SIDES - 1)) != 0 || cap < 0 || (cap > 0 && !out))
        return BOOK_ERR_ARGUMENT;
    int64_t n = 0;
    for (int32_t at = s->best[side]; at; at = b->levels[at].next) {
        for (int32_t index = b->levels[at].head; index; index = b->orders[index].next) {
            if (n == cap)
                return n;
            order_view(b, index, &out[n++]);
        }
    }
    return n;
}

int book_order_get(const book *b, int64_t order_id, book_order_view *out)
{
    const int32_t index = b && out ? order_find(b, order_id) : 0;
    if (!index)
        return 0;
    order_view(b, index, out);
    return 1;
}

int64_t book_queue_ahead(const book *b, int64_t order_id)
{
    const int32_t index = b ? order_find(b, order_id) : 0;
    if (!index || order_parked(b, &b->orders[index]))
        return -1;
    int64_t ahead = 0;
    for (int32_t at = b->orders[index].prev; at; at = b->orders[at].prev)
        ahead += b->orders[at].qty;
    return ahead;
}

int64_t book_level_qty(const book *b, int32_t symbol, int side, int64_t price)
{
    if (!symbol_of(b, symbol) || (side & ~1) != 0)
        return 0;
    const int32_t at = level_find(b, symbol * BOOK_SIDES + side, price);
    return at ? b->levels[at].qty : 0;
}

int64_t book_live_orders(const book *b)
{
    return b ? b->live : 0;
}

int64_t book_last_price(const book *b, int32_t symbol, int64_t *price)
{
    const symbol_book *s = symbol_of(b, symbol);
    if (!s || !price || !s->has_last)
        return 0;
    *price = s->last_price;
    return 1;
}
