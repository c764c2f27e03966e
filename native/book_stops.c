/* book_stops.c: which parked stops a trade elects, and in which order they go live. */

#include "book_internal.h"

/* Has the last trade already reached this trigger? */
bool book_stop_passed(const symbol_book *s, int side, int64_t trigger_price)
{
    return s->has_last && (side == BOOK_SIDE_BUY ? s->last_price >= trigger_price : s->last_price <= trigger_price);
}

/* Would trades between low and high elect any stop? */
bool book_stops_within(const book *b, const symbol_book *s, int64_t low, int64_t high)
{
    const int32_t buys = s->best[BOOK_STOPS + BOOK_SIDE_BUY], sells = s->best[BOOK_STOPS + BOOK_SIDE_SELL];
    return (buys && b->levels[buys].price <= high) || (sells && b->levels[sells].price >= low);
}

/* After a message: every trade price it made elects buy stops at or below it and sell stops at or above it. One stop at a time
 * goes live and runs to its end, buys first, each side in trigger-price then time order; its own trades may elect more. A loop
 * and not a recursion, and each turn removes one stop: it ends. */
void book_stops_run(book *b, symbol_book *s, report_sink *out)
{
    while (s->elect_low <= s->elect_high && s->status == MD_STATUS_TRADING) {
        const int32_t buys = s->best[BOOK_STOPS + BOOK_SIDE_BUY], sells = s->best[BOOK_STOPS + BOOK_SIDE_SELL];
        int32_t index;
        if (buys && b->levels[buys].price <= s->elect_high)
            index = b->levels[buys].head;
        else if (sells && b->levels[sells].price >= s->elect_low)
            index = b->levels[sells].head;
        else
            break;
        book_order_unlink(b, index);
        book_stop_activate(b, s, index, out);
    }
    s->elect_low = INT64_MAX;
    s->elect_high = INT64_MIN;
}
