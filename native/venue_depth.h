/* venue_depth.h: what a level-2 row does to one view of the book, ours or the venue's. */
#ifndef VENUE_DEPTH_H
#define VENUE_DEPTH_H

#include "venue_internal.h"

/* A stated best price. With levels on the side it corrects them (nothing better can be left); without, it is all we know. */
static inline int depth_bbo(depth *d, const md_row *row)
{
    ladder *l = &d->side[row->side];
    const int64_t key = ladder_key(row->side, row->price);
    int64_t before;
    if (row->qty == 0 || !d->levels_seen[row->side])
        ladder_clear(l);
    if (row->qty == 0)
        return LADDER_OK;
    while (l->best_key > key)
        ladder_set(l, l->best_key, 0, &before);
    return ladder_set(l, key, row->qty, &before);
}

static inline bool row_price_fits(const md_row *row)
{
    return row->price < LADDER_PRICE_LIMIT && row->price > -LADDER_PRICE_LIMIT;
}

#endif
