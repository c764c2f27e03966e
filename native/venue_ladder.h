/* venue_ladder.h: one side of a level-2 book: price -> quantity, the best level always at hand.
 *
 * Why this structure: nearly every update of a feed lies within a few hundred ticks of the best price. So a window of
 * LADDER_SLOTS ticks around it is a plain array indexed by ticks, with one bit for each level (and one bit for each word of those)
 * to find the next level; setting a level costs a multiplication, a store and, when the level is new or gone, a bit. Levels worse
 * than the window wait in an array sorted by price; the window is moved when the best price leaves it. No level is ever better
 * than the window.
 *
 * Both sides use the same code: a level's key is its price for bids and ~price for asks, so that the larger key is the better
 * price, and key and price turn into each other without overflow.
 */
#ifndef VENUE_LADDER_H
#define VENUE_LADDER_H

#include <stdbool.h>
#include <stdint.h>

#define LADDER_SLOTS 16384
#define LADDER_WORDS (LADDER_SLOTS / 64)
#define LADDER_EMPTY INT64_MIN                 /* best_key of an empty side: worse than every key */
#define LADDER_PRICE_LIMIT ((int64_t)1 << 61)  /* |price| and the window's width stay below: no sum of both overflows */

#define LADDER_OK 0
#define LADDER_OFF_TICK -1
#define LADDER_FULL -2

typedef struct {
    int64_t best_key;
    int64_t base;          /* key of slot 0 */
    uint64_t span;         /* LADDER_SLOTS * tick; 0: the window lies nowhere yet */
    uint64_t magic;        /* ceil(2^64 / tick): offset / tick is the upper half of offset * magic */
    int64_t *qty;          /* [LADDER_SLOTS] */
    uint64_t *bits;        /* [LADDER_WORDS] */
    uint64_t summary[LADDER_WORDS / 64];
    int32_t best_slot;     /* -1: the window is empty */
    int32_t levels, levels_max; /* window and far */
    int32_t far_n;
    int64_t *far_key;      /* ascending: the best is last */
    int64_t *far_qty;
    int64_t tick;
    int32_t side;
} ladder;

int ladder_init(ladder *l, int side, int64_t tick, int64_t levels_max);
void ladder_free(ladder *l);
void ladder_clear(ladder *l);
int ladder_set_slow(ladder *l, int64_t key, int64_t qty, int64_t *before);
void ladder_best_gone(ladder *l);
int64_t ladder_get(const ladder *l, int64_t key);
/* The best level worse than `key` (LADDER_EMPTY when none); start with INT64_MAX. */
int64_t ladder_next(const ladder *l, int64_t key, int64_t *qty);
int ladder_check(const ladder *l);

static inline int64_t ladder_key(int side, int64_t price)
{
    return side ? ~price : price;
}

static inline uint64_t ladder_slot(const ladder *l, uint64_t offset)
{
    return (uint64_t)(((unsigned __int128)offset * l->magic) >> 64);
}

/* Sets a level to qty >= 0 and gives what it was before. */
static inline __attribute__((always_inline)) int ladder_set(ladder *l, int64_t key, int64_t qty, int64_t *before)
{
    const uint64_t offset = (uint64_t)key - (uint64_t)l->base;
    if (__builtin_expect(offset >= l->span, 0))
        return ladder_set_slow(l, key, qty, before);
    uint64_t slot = offset;
    if (l->magic) {
        slot = ladder_slot(l, offset);
        if (__builtin_expect(slot * (uint64_t)l->tick != offset, 0))
            return LADDER_OFF_TICK;
    }
    const int64_t old = l->qty[slot];
    *before = old;
    l->qty[slot] = qty;
    if ((old != 0) == (qty != 0))
        return LADDER_OK;
    const uint64_t word = slot >> 6;
    if (qty) {
        if (__builtin_expect(l->levels >= l->levels_max, 0)) {
            l->qty[slot] = 0;
            return LADDER_FULL;
        }
        l->levels++;
        l->bits[word] |= (uint64_t)1 << (slot & 63);
        l->summary[word >> 6] |= (uint64_t)1 << (word & 63);
        if ((int32_t)slot > l->best_slot) {
            l->best_slot = (int32_t)slot;
            l->best_key = key;
        }
    } else {
        l->levels--;
        l->bits[word] &= ~((uint64_t)1 << (slot & 63));
        if (!l->bits[word])
            l->summary[word >> 6] &= ~((uint64_t)1 << (word & 63));
        if ((int32_t)slot == l->best_slot)
            ladder_best_gone(l);
    }
    return LADDER_OK;
}

static inline int64_t ladder_best_qty(const ladder *l)
{
    return l->best_slot < 0 ? 0 : l->qty[l->best_slot];
}

#endif
