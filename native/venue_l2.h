/* venue_l2.h: what the files of the level-2 exchange share: recorded levels less what we took, our orders by price, fills. */
#ifndef VENUE_L2_H
#define VENUE_L2_H

#include "venue_internal.h"

/* venue_l2_queue.c */
void overlay_set(overlay *o, int64_t key, int64_t qty);
/* The best recorded level worse than `key` with a whole lot left that we did not take; INT64_MAX starts at the best. */
int64_t available_next(const instrument *in, int side, int64_t key, int64_t *qty);
/* First index with a key worse than `key`: where a new order at `key` goes. */
int32_t own_after(const own_side *s, int64_t key);
void own_insert(venue *v, own_side *s, own_order *o);
void own_remove(venue *v, own_side *s, const own_order *o);
void parked_remove(venue *v, instrument *in, const own_order *o);
int64_t ahead_lots(const instrument *in, const own_order *o);
void l2_fill(venue *v, instrument *in, own_order *o, int64_t price, int64_t qty, int64_t taker);
int64_t reducible(const instrument *in, int side);
bool reduce_only_fits(venue *v, instrument *in, own_order *o);

/* venue_l2.c */
void l2_trigger(venue *v, instrument *in, own_order *o);

VENUE_INLINE int64_t lots_down(const instrument *in, int64_t qty)
{
    return in->rules.lot == 1 ? qty : qty - qty % in->rules.lot;
}

VENUE_INLINE bool continuous(const instrument *in)
{
    return in->status == MD_STATUS_TRADING && !in->gap;
}

VENUE_INLINE bool stop_reached(const instrument *in, const own_order *o, int64_t low, int64_t high)
{
    return o->side == BOOK_SIDE_BUY ? high >= o->trigger_price : low <= o->trigger_price;
}

#endif
