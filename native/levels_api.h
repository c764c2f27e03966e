/* levels_api.h: a book of price levels fed with the text of a venue's depth updates.
 *
 * Feeds send levels as JSON pairs of decimal texts, [["61837.60","0.250"],...], tens to thousands
 * a message. Turning each text into an object costs more than everything else together, so the
 * text itself comes in here: numbers are parsed exactly, at the instrument's scales, and land in
 * two arrays of (price, quantity) sorted so that the best level is the last. Changes happen near
 * the best levels, so an insertion moves little. A full side drops its worst level: nobody looks
 * there.
 *
 * An update is whole or nothing: both sides are read before anything changes.
 *
 * Plain declarations only: this file is both the cffi definition and what the C sources include.
 */

#define LEVELS_OK 0
#define LEVELS_ERR_SYNTAX -1 /* not the list of pairs of decimal texts that it must be */
#define LEVELS_ERR_SCALE -2  /* digits beyond the scale that are not zero, or a number beyond int64 */
#define LEVELS_ERR_PRICE -3  /* a price that is not positive, or off the tick */
#define LEVELS_ERR_MANY -4   /* more levels in one message than levels_new allows */

#define LEVELS_SIDE_MAX 32768 /* levels kept on a side */

typedef struct level_book level_book;

typedef struct {
    int64_t price;
    int64_t qty;
} level_pair;

/* NULL: no memory, or scales outside 0..18, or tick or message_max below 1. */
level_book *levels_new(int price_scale, int qty_scale, int64_t tick, int32_t message_max);
void levels_free(level_book *book);
void levels_clear(level_book *book);

/* How many levels were read, or an error, and then nothing has changed. Quantity 0 removes. */
int32_t levels_update(level_book *book, const char *bids, int64_t bids_size, const char *asks, int64_t asks_size);

/* The best `count` bids into `out`, best first, and the asks behind them: 2 * count pairs. Where a side has fewer, zeroes
 * stand for the others. */
void levels_best(const level_book *book, int32_t count, level_pair *out);
int32_t levels_count(const level_book *book, int side);

/* LEVELS_OK, or a negative number where the order of a side is broken. */
int levels_check(const level_book *book);
