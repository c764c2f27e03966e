/* venue_ladder.c: the rare steps of a ladder: far levels, moving the window, walking and checking. */

#include "venue_ladder.h"

#include <stdlib.h>
#include <string.h>

int ladder_init(ladder *l, int side, int64_t tick, int64_t levels_max)
{
    memset(l, 0, sizeof *l);
    l->side = side;
    l->tick = tick;
    l->levels_max = (int32_t)levels_max;
    l->best_slot = -1;
    l->best_key = LADDER_EMPTY;
    /* The rounded-up reciprocal is off by less than tick, so the quotient by less than offset / 2^64 < 1: whole multiples of the
     * tick come out exactly, and for anything else quotient * tick != offset, which is how off-tick prices are found. */
    l->magic = tick == 1 ? 0 : UINT64_MAX / (uint64_t)tick + 1;
    l->qty = calloc(LADDER_SLOTS, sizeof *l->qty);
    l->bits = calloc(LADDER_WORDS, sizeof *l->bits);
    l->far_key = calloc((size_t)levels_max, sizeof *l->far_key);
    l->far_qty = calloc((size_t)levels_max, sizeof *l->far_qty);
    return l->qty && l->bits && l->far_key && l->far_qty ? LADDER_OK : LADDER_FULL;
}

void ladder_free(ladder *l)
{
    free(l->qty);
    free(l->bits);
    free(l->far_key);
    free(l->far_qty);
}

/* The best level of the window at or below `slot`, or -1. */
static int32_t window_find(const ladder *l, int32_t slot)
{
    if (slot < 0)
        return -1;
    int32_t word = slot >> 6;
    const uint64_t here = l->bits[word] & (~(uint64_t)0 >> (63 - (slot & 63)));
    if (here)
        return word * 64 + 63 - __builtin_clzll(here);
    int32_t group = word >> 6;
    uint64_t words = l->summary[group] & (((uint64_t)1 << (word & 63)) - 1);
    while (!words) {
        if (--group < 0)
            return -1;
        words = l->summary[group];
    }
    word = group * 64 + 63 - __builtin_clzll(words);
    return word * 64 + 63 - __builtin_clzll(l->bits[word]);
}

/* Index of the first far level with key >= `key`. */
static int32_t far_find(const ladder *l, int64_t key)
{
    int32_t low = 0, high = l->far_n;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (l->far_key[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void window_put(ladder *l, int64_t key, int64_t qty)
{
    const uint64_t slot = ((uint64_t)key - (uint64_t)l->base) / (uint64_t)l->tick;
    l->qty[slot] = qty;
    l->bits[slot >> 6] |= (uint64_t)1 << (slot & 63);
    l->summary[slot >> 12] |= (uint64_t)1 << ((slot >> 6) & 63);
    if ((int32_t)slot > l->best_slot) {
        l->best_slot = (int32_t)slot;
        l->best_key = key;
    }
}

/* Moves the window so that `key` stands at three quarters of it: room above for better prices, more below for depth. */
static void window_move(ladder *l, int64_t key)
{
    for (int32_t word = 0; word < LADDER_WORDS; word++) {
        uint64_t bits = l->bits[word];
        while (bits) {
            const int32_t slot = word * 64 + __builtin_ctzll(bits);
            bits &= bits - 1;
            l->far_key[l->far_n] = l->base + slot * l->tick;
            l->far_qty[l->far_n++] = l->qty[slot];
            l->qty[slot] = 0;
        }
        l->bits[word] = 0;
    }
    memset(l->summary, 0, sizeof l->summary);
    l->best_slot = -1;
    l->best_key = LADDER_EMPTY;
    l->span = (uint64_t)LADDER_SLOTS * (uint64_t)l->tick;
    l->base = key - (LADDER_SLOTS / 4 * 3) * l->tick;
    while (l->far_n && l->far_key[l->far_n - 1] >= l->base) {
        l->far_n--;
        window_put(l, l->far_key[l->far_n], l->far_qty[l->far_n]);
    }
}

void ladder_best_gone(ladder *l)
{
    const int32_t slot = window_find(l, l->best_slot);
    l->best_slot = slot;
    if (slot >= LADDER_SLOTS / 8 || (slot >= 0 && l->far_n == 0)) {
        l->best_key = l->base + slot * l->tick;
        return;
    }
    if (l->far_n == 0) {
        l->best_key = LADDER_EMPTY;
        return;
    }
    window_move(l, slot >= 0 ? l->base + slot * l->tick : l->far_key[l->far_n - 1]);
}

int ladder_set_slow(ladder *l, int64_t key, int64_t qty, int64_t *before)
{
    const int64_t price = ladder_key(l->side, key);
    if (price % l->tick != 0)
        return LADDER_OFF_TICK;
    *before = 0;
    if (l->levels == 0) {
        if (qty == 0)
            return LADDER_OK;
        window_move(l, key);
        l->levels = 1;
        window_put(l, key, qty);
        return LADDER_OK;
    }
    if (key > l->base) { /* better than the whole window */
        if (qty == 0)
            return LADDER_OK;
        if (l->levels >= l->levels_max)
            return LADDER_FULL;
        window_move(l, key);
        l->levels++;
        window_put(l, key, qty);
        return LADDER_OK;
    }
    const int32_t at = far_find(l, key);
    if (at < l->far_n && l->far_key[at] == key) {
        *before = l->far_qty[at];
        if (qty) {
            l->far_qty[at] = qty;
            return LADDER_OK;
        }
        l->far_n--;
        l->levels--;
        memmove(&l->far_key[at], &l->far_key[at + 1], (size_t)(l->far_n - at) * sizeof *l->far_key);
        memmove(&l->far_qty[at], &l->far_qty[at + 1], (size_t)(l->far_n - at) * sizeof *l->far_qty);
        return LADDER_OK;
    }
    if (qty == 0)
        return LADDER_OK;
    if (l->levels >= l->levels_max)
        return LADDER_FULL;
    memmove(&l->far_key[at + 1], &l->far_key[at], (size_t)(l->far_n - at) * sizeof *l->far_key);
    memmove(&l->far_qty[at + 1], &l->far_qty[at], (size_t)(l->far_n - at) * sizeof *l->far_qty);
    l->far_key[at] = key;
    l->far_qty[at] = qty;
    l->far_n++;
    l->levels++;
    return LADDER_OK;
}

void ladder_clear(ladder *l)
{
    for (int32_t slot = l->best_slot; slot >= 0; slot = window_find(l, slot - 1))
        l->qty[slot] = 0;
    memset(l->bits, 0, LADDER_WORDS * sizeof *l->bits);
    memset(l->summary, 0, sizeof l->summary);
    l->best_slot = -1;
    l->best_key = LADDER_EMPTY;
    l->levels = 0;
    l->far_n = 0;
}

int64_t ladder_get(const ladder *l, int64_t key)
{
    const uint64_t offset = (uint64_t)key - (uint64_t)l->base;
    if (offset < l->span)
        return offset % (uint64_t)l->tick ? 0 : l->qty[offset / (uint64_t)l->tick];
    const int32_t at = far_find(l, key);
    return at < l->far_n && l->far_key[at] == key ? l->far_qty[at] : 0;
}

int64_t ladder_next(const ladder *l, int64_t key, int64_t *qty)
{
    if (l->best_slot >= 0) {
        int32_t slot = l->best_slot;
        if (key <= l->best_key)
            slot = key <= l->base ? -1 : window_find(l, (int32_t)(((uint64_t)key - (uint64_t)l->base - 1) / (uint64_t)l->tick));
        if (slot >= 0) {
            *qty = l->qty[slot];
            return l->base + slot * l->tick;
        }
    }
    const int32_t at = far_find(l, key) - 1;
    if (at < 0) {
        *qty = 0;
        return LADDER_EMPTY;
    }
    *qty = l->far_qty[at];
    return l->far_key[at];
}

int ladder_check(const ladder *l)
{
    int32_t levels = 0, best = -1;
    for (int32_t slot = 0; slot < LADDER_SLOTS; slot++) {
        const bool bit = l->bits[slot >> 6] >> (slot & 63) & 1;
        if (bit != (l->qty[slot] != 0) || l->qty[slot] < 0)
            return -1;
        if (bit) {
            levels++;
            best = slot;
        }
    }
    for (int32_t word = 0; word < LADDER_WORDS; word++)
        if ((l->bits[word] != 0) != (l->summary[word >> 6] >> (word & 63) & 1))
            return -1;
    for (int32_t i = 0; i < l->far_n; i++) {
        if (l->far_qty[i] <= 0 || l->far_key[i] >= l->base || (i && l->far_key[i] <= l->far_key[i - 1]))
            return -1;
    }
    if (best != l->best_slot || levels + l->far_n != l->levels || l->levels > l->levels_max || (best < 0 && l->far_n))
        return -1;
    return l->best_key == (best < 0 ? LADDER_EMPTY : l->base + best * l->tick) ? LADDER_OK : -1;
}
