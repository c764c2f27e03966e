/* venue_l3.h: what the two halves of the order-by-order exchange share. They alone, outside book_*.c, look into the book's
 * structures: they have to walk queues and to rest recorded orders unmatched.
 */
#ifndef VENUE_L3_H
#define VENUE_L3_H

#include "book_internal.h"
#include "venue_internal.h"

/* venue_l3.c */
void reports_tell(venue *v, instrument *in, int64_t n, int64_t visible_ts);
void packet_end(venue *v, instrument *in, int64_t visible_ts);
/* venue_l3_rows.c */
void ghost_erase(venue_l3 *x, const ghost *g);
void ghost_set(venue *v, venue_l3 *x, int64_t id, int64_t left);

VENUE_INLINE uint32_t ghost_home(const venue_l3 *x, int64_t id)
{
    return hash_id(id) & x->ghost_mask;
}

VENUE_INLINE ghost *ghost_find(const venue_l3 *x, int64_t id)
{
    if (VENUE_LIKELY(x->n_ghosts == 0))
        return NULL;
    for (uint32_t slot = ghost_home(x, id); x->ghosts[slot].id; slot = (slot + 1) & x->ghost_mask)
        if (x->ghosts[slot].id == id)
            return &x->ghosts[slot];
    return NULL;
}

VENUE_INLINE int64_t leaves_of(const venue_l3 *x, int64_t id)
{
    const int32_t index = order_find(x->book, id);
    return index ? order_leaves(&x->book->orders[index]) : 0;
}

/* How much of a resting order would not stand in the book without us. */
VENUE_INLINE int64_t displaced(const venue_l3 *x, const order *o)
{
    if (o->owner == OWN_OWNER)
        return order_leaves(o);
    const ghost *g = ghost_find(x, o->id);
    const int64_t more = g ? order_leaves(o) - g->left : 0;
    return more > 0 ? more : 0;
}

VENUE_INLINE void tell_level(venue *v, instrument *in, int64_t visible_ts, int side, int64_t price)
{
    feed_put(v, in, visible_ts, MD_LEVEL, side, price, book_level_qty(in->l3->book, 0, side, price));
}

#endif
