/* levels.c: see levels_api.h. */
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "levels_api.h"

#define SCALE_MAX 18
#define NEAR 8

typedef struct {
    level_pair *pairs; /* `price` is the key_of it: both sides ascend, and the best is the last */
    int32_t count;
} level_side;

/* One level added or removed; those behind it, until the next change, move by `shift`. */
typedef struct {
    const level_pair *added; /* NULL: removed */
    int32_t place;
    int32_t shift;
} level_change;

struct level_book {
    level_side sides[2];
    level_pair *read; /* what a message says, until all of it is known to be good */
    level_change *changes; /* of one side, and one more that ends the last */
    int32_t message_max;
    int price_scale;
    int qty_scale;
    int64_t tick;
};

level_book *levels_new(int price_scale, int qty_scale, int64_t tick, int32_t message_max)
{
    if (price_scale < 0 || price_scale > SCALE_MAX || qty_scale < 0 || qty_scale > SCALE_MAX || tick < 1 || message_max < 1)
        return NULL;
    level_book *book = calloc(1, sizeof *book);
    if (book == NULL)
        return NULL;
    for (int side = 0; side < 2; side++)
        book->sides[side].pairs = malloc(sizeof(level_pair) * LEVELS_SIDE_MAX);
    book->read = malloc(sizeof(level_pair) * (size_t)message_max);
    book->changes = malloc(sizeof(level_change) * ((size_t)message_max + 1));
    book->message_max = message_max;
    book->price_scale = price_scale;
    book->qty_scale = qty_scale;
    book->tick = tick;
    if (book->sides[0].pairs == NULL || book->sides[1].pairs == NULL || book->read == NULL || book->changes == NULL) {
        levels_free(book);
        return NULL;
    }
    return book;
}

void levels_free(level_book *book)
{
    if (book == NULL)
        return;
    free(book->sides[0].pairs);
    free(book->sides[1].pairs);
    free(book->read);
    free(book->changes);
    free(book);
}

void levels_clear(level_book *book)
{
    book->sides[0].count = 0;
    book->sides[1].count = 0;
}

/* Text. */

typedef struct {
    const char *at;
    const char *end;
} reader;

static void skip_blanks(reader *in)
{
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r'))
        in->at++;
}

static int take(reader *in, char wanted)
{
    skip_blanks(in);
    if (in->at >= in->end || *in->at != wanted)
        return 0;
    in->at++;
    return 1;
}

/* `before`: how many digits it has. */
static int push_digit(int64_t *value, int before, int digit)
{
    if (before >= SCALE_MAX && *value > (INT64_MAX - digit) / 10)
        return 0;
    *value = *value * 10 + digit;
    return 1;
}

/* A quoted decimal without sign or exponent, with digits on both sides of a point that is there. */
static int read_decimal(reader *in, int scale, int64_t *out)
{
    if (!take(in, '"'))
        return LEVELS_ERR_SYNTAX;
    int64_t value = 0;
    int digits = 0, decimals = 0;
    for (; in->at < in->end && *in->at >= '0' && *in->at <= '9'; in->at++, digits++)
        if (!push_digit(&value, digits, *in->at - '0'))
            return LEVELS_ERR_SCALE;
    if (digits == 0)
        return LEVELS_ERR_SYNTAX;
    if (in->at < in->end && *in->at == '.') {
        in->at++;
        const char *first = in->at;
        for (; in->at < in->end && *in->at >= '0' && *in->at <= '9'; in->at++) {
            if (decimals < scale) {
                if (!push_digit(&value, digits + decimals, *in->at - '0'))
                    return LEVELS_ERR_SCALE;
                decimals++;
            } else if (*in->at != '0') {
                return LEVELS_ERR_SCALE;
            }
        }
        if (in->at == first)
            return LEVELS_ERR_SYNTAX;
    }
    for (; decimals < scale; decimals++)
        if (!push_digit(&value, digits + decimals, 0))
            return LEVELS_ERR_SCALE;
    if (in->at >= in->end || *in->at != '"')
        return LEVELS_ERR_SYNTAX;
    in->at++;
    *out = value;
    return LEVELS_OK;
}

static int read_pair(const level_book *book, reader *in, level_pair *out)
{
    if (!take(in, '['))
        return LEVELS_ERR_SYNTAX;
    int status = read_decimal(in, book->price_scale, &out->price);
    if (status != LEVELS_OK)
        return status;
    if (out->price < 1 || out->price % book->tick != 0)
        return LEVELS_ERR_PRICE;
    if (!take(in, ','))
        return LEVELS_ERR_SYNTAX;
    status = read_decimal(in, book->qty_scale, &out->qty);
    if (status != LEVELS_OK)
        return status;
    return take(in, ']') ? LEVELS_OK : LEVELS_ERR_SYNTAX;
}

/* Pairs of one side into book->read from `count` on; how many there are then, or an error. */
static int32_t read_side(const level_book *book, const char *text, int64_t size, int32_t count)
{
    reader in = {text, text + size};
    if (!take(&in, '['))
        return LEVELS_ERR_SYNTAX;
    if (!take(&in, ']')) {
        do {
            if (count >= book->message_max)
                return LEVELS_ERR_MANY;
            int status = read_pair(book, &in, &book->read[count]);
            if (status != LEVELS_OK)
                return status;
            count++;
        } while (take(&in, ','));
        if (!take(&in, ']'))
            return LEVELS_ERR_SYNTAX;
    }
    skip_blanks(&in);
    return in.at == in.end ? count : LEVELS_ERR_SYNTAX;
}

/* Levels. */

/* What a side is sorted by: higher is better, so that the best of either side is the last. */
static int64_t key_of(int side, int64_t price)
{
    return side == 0 ? price : -price;
}

/* The first place whose key is not below `key`; those before `from` are. Messages go along the prices, so it is near `from`: the
 * search widens eightfold, and narrows so, by eight looks that wait neither for each other nor for a branch guessed wrong. */
static int32_t find_place(const level_side *levels, int64_t key, int32_t from)
{
    const level_pair *pairs = levels->pairs;
    int32_t width = NEAR;
    while (levels->count - from >= width && pairs[from + width - 1].price < key) {
        from += width;
        width *= NEAR;
    }
    while (width > 1) {
        int32_t end = levels->count - from < width ? levels->count : from + width;
        width /= NEAR;
        int32_t below = 0;
        for (int32_t place = from + width - 1; place < end; place += width)
            below += pairs[place].price < key;
        from += below * width;
    }
    return from;
}

/* `pair` as a key and a quantity. */
static void put(level_side *levels, level_pair pair)
{
    int32_t place = find_place(levels, pair.price, 0);
    level_pair *at = levels->pairs + place;
    if (place < levels->count && at->price == pair.price) {
        if (pair.qty != 0) {
            at->qty = pair.qty;
            return;
        }
        memmove(at, at + 1, sizeof *at * (size_t)(levels->count - place - 1));
        levels->count--;
        return;
    }
    if (pair.qty == 0)
        return;
    if (levels->count == LEVELS_SIDE_MAX) {
        if (place == 0)
            return;
        memmove(levels->pairs, levels->pairs + 1, sizeof *at * (size_t)(place - 1));
        levels->pairs[place - 1] = pair;
        return;
    }
    memmove(at + 1, at, sizeof *at * (size_t)(levels->count - place));
    *at = pair;
    levels->count++;
}

/* 1: each key is above the one before it; -1: below; 0: neither. */
static int direction_of(const level_pair *pairs, int32_t count)
{
    int32_t rises = 0, falls = 0;
    for (int32_t next = 1; next < count; next++) {
        rises += pairs[next].price > pairs[next - 1].price;
        falls += pairs[next].price < pairs[next - 1].price;
    }
    return rises == count - 1 ? 1 : falls == count - 1 ? -1 : 0;
}

/* The levels between this change and the next go where they belong. */
static void shift(level_side *levels, const level_change *change)
{
    int32_t start = change->place + (change->added == NULL);
    level_pair *from = levels->pairs + start;
    memmove(from + change->shift, from, sizeof *from * (size_t)(change[1].place - start));
}

/* Pairs in order, all at once: a level moves once, however many are added and removed below it. */
static void put_all(level_side *levels, const level_pair *pairs, int32_t count, int is_falling, level_change *changes)
{
    int32_t change_count = 0, moved = 0, place = 0;
    for (int32_t number = 0; number < count; number++) {
        const level_pair *pair = &pairs[is_falling ? count - 1 - number : number];
        place = find_place(levels, pair->price, place);
        int is_there = place < levels->count && levels->pairs[place].price == pair->price;
        if (is_there && pair->qty != 0) {
            levels->pairs[place].qty = pair->qty;
        } else if (is_there || pair->qty != 0) {
            moved += is_there ? -1 : 1;
            changes[change_count++] = (level_change){is_there ? NULL : pair, place, moved};
        }
    }
    changes[change_count].place = levels->count;
    /* Whoever goes down finds room that those below it have left, and whoever goes up that of those above. */
    for (int32_t number = 0; number < change_count; number++)
        if (changes[number].shift < 0)
            shift(levels, &changes[number]);
    for (int32_t number = change_count - 1; number >= 0; number--)
        if (changes[number].shift > 0)
            shift(levels, &changes[number]);
    for (int32_t number = 0; number < change_count; number++)
        if (changes[number].added != NULL)
            levels->pairs[changes[number].place + changes[number].shift - 1] = *changes[number].added;
    levels->count += moved;
}

static void put_side(level_book *book, int side, level_pair *pairs, int32_t count)
{
    level_side *levels = &book->sides[side];
    for (int32_t number = 0; number < count; number++)
        pairs[number].price = key_of(side, pairs[number].price);
    int direction = count > LEVELS_SIDE_MAX - levels->count ? 0 : direction_of(pairs, count);
    if (direction != 0) {
        put_all(levels, pairs, count, direction < 0, book->changes);
        return;
    }
    for (int32_t number = 0; number < count; number++)
        put(levels, pairs[number]);
}

int32_t levels_update(level_book *book, const char *bids, int64_t bids_size, const char *asks, int64_t asks_size)
{
    int32_t bid_count = read_side(book, bids, bids_size, 0);
    if (bid_count < 0)
        return bid_count;
    int32_t count = read_side(book, asks, asks_size, bid_count);
    if (count < 0)
        return count;
    put_side(book, 0, book->read, bid_count);
    put_side(book, 1, book->read + bid_count, count - bid_count);
    return count;
}

void levels_best(const level_book *book, int32_t count, level_pair *out)
{
    for (int side = 0; side < 2; side++) {
        const level_side *levels = &book->sides[side];
        for (int32_t place = levels->count - 1; place >= levels->count - count; place--, out++) {
            level_pair none = {0, 0};
            *out = place < 0 ? none : (level_pair){key_of(side, levels->pairs[place].price), levels->pairs[place].qty};
        }
    }
}

int32_t levels_count(const level_book *book, int side)
{
    return book->sides[side != 0].count;
}

int levels_check(const level_book *book)
{
    for (int side = 0; side < 2; side++) {
        const level_side *levels = &book->sides[side];
        if (levels->count < 0 || levels->count > LEVELS_SIDE_MAX)
            return -1;
        for (int32_t place = 0; place < levels->count; place++) {
            if (key_of(side, levels->pairs[place].price) < 1 || levels->pairs[place].qty < 1)
                return -2;
            if (place > 0 && levels->pairs[place - 1].price >= levels->pairs[place].price)
                return -3;
        }
    }
    return LEVELS_OK;
}
