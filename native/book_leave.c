/* book_leave.c: orders that go without a taker: mass cancel, expiry, and replay of recorded executions and reductions. */

#include "book_internal.h"

static bool leaves_with_mass_cancel(const order *o, int64_t argument)
{
    return argument == 0 || o->owner == argument;
}

static bool leaves_with_day(const order *o, int64_t argument)
{
    return o->time_in_force == BOOK_TIF_DAY || o->time_in_force == BOOK_TIF_OPG;
}

typedef bool (*leave_rule)(const order *o, int64_t argument);

/* Orders that match the rule, by symbol, then side (buys, sells, buy stops, sell stops), then priority. Counts them, or makes
 * them leave where out is given: a full report buffer must be noticed before the first one goes. */
static int64_t sweep(book *b, int32_t symbol, int32_t side, leave_rule rule, int64_t argument, int kind, int reason,
                     report_sink *out)
{
    const int32_t symbol_first = symbol < 0 ? 0 : symbol;
    const int32_t symbol_end = symbol < 0 ? b->symbols_used : symbol + 1;
    int64_t count = 0;
    for (int32_t at_symbol = symbol_first; at_symbol < symbol_end; at_symbol++) {
        for (int at_side = 0; at_side < BOOK_SIDES; at_side++) {
            if (side >= 0 && (at_side & 1) != side)
                continue;
            int32_t next_level;
            for (int32_t at = b->symbols[at_symbol].best[at_side]; at; at = next_level) {
                int32_t next;
                next_level = b->levels[at].next;
                for (int32_t index = b->levels[at].head; index; index = next) {
                    next = b->orders[index].next;
                    if (!rule(&b->orders[index], argument))
                        continue;
                    count++;
                    if (out)
                        book_order_leave(b, index, kind, reason, out);
                }
            }
        }
    }
    return count;
}

static int64_t sweep_reported(book *b, int64_t ts, int32_t symbol, int32_t side, leave_rule rule, int64_t argument, int kind,
                              int reason, book_report *reports, int64_t cap)
{
    if (!b || cap < 0 || (cap > 0 && !reports) || side < -1 || side > 1)
        return BOOK_ERR_ARGUMENT;
    if (symbol < -1 || symbol >= b->symbols_used)
        return BOOK_ERR_SYMBOL;
    if (cap < b->live && sweep(b, symbol, side, rule, argument, kind, reason, NULL) > cap)
        return BOOK_ERR_REPORTS_FULL;
    report_sink out = {reports, ts};
    b->ts_last = ts;
    return sweep(b, symbol, side, rule, argument, kind, reason, &out);
}

int64_t book_mass_cancel(book *b, int64_t ts, int64_t owner, int32_t symbol, int32_t side, book_report *reports, int64_t cap)
{
    return sweep_reported(b, ts, symbol, side, leaves_with_mass_cancel, owner, BOOK_REPORT_CANCELED, BOOK_REASON_MASS_CANCEL,
                          reports, cap);
}

int64_t book_end_of_day(book *b, int64_t ts, int32_t symbol, book_report *reports, int64_t cap)
{
    return sweep_reported(b, ts, symbol, -1, leaves_with_day, 0, BOOK_REPORT_EXPIRED, BOOK_REASON_NONE, reports, cap);
}

int64_t book_advance(book *b, int64_t ts, book_report *reports, int64_t cap)
{
    if (!b || cap < 0 || (cap > 0 && !reports))
        return BOOK_ERR_ARGUMENT;
    if (cap < b->timed_used) {
        int64_t due = 0;
        for (int64_t i = 0; i < b->timed_used; i++)
            due += b->details[b->timed[i]].expire_ts <= ts;
        if (due > cap)
            return BOOK_ERR_REPORTS_FULL;
    }
    report_sink out = {reports, ts};
    b->ts_last = ts;
    while (b->timed_used && b->details[b->timed[0]].expire_ts <= ts)
        book_order_leave(b, b->timed[0], BOOK_REPORT_EXPIRED, BOOK_REASON_NONE, &out);
    return out.next - reports;
}

/* The resting order that a recorded message names, or the reason why there is none. */
static int resting_reason(const book *b, int32_t index, int64_t qty)
{
    if (!index || order_parked(b, &b->orders[index]))
        return BOOK_REASON_UNKNOWN_ORDER;
    return qty <= 0 || qty > order_leaves(&b->orders[index]) ? BOOK_REASON_BAD_QTY : BOOK_REASON_NONE;
}

static int64_t refuse(book *b, int32_t index, int64_t order_id, int64_t qty, int reason, report_sink *out)
{
    const order *o = &b->orders[index];
    report_put(out, BOOK_REPORT_CANCEL_REJECTED, reason, index ? o->symbol : -1, index ? o->side : 0, order_id, 0, 0, qty,
               index ? order_leaves(o) : 0, 0);
    b->totals.rejected++;
    return 1;
}

/* The displayed peak goes first; each time it is used up the next one queues at the back, as in any trade. */
static void execute_peaks(book *b, symbol_book *s, int32_t index, int64_t qty)
{
    order *o = &b->orders[index];
    level *l = &b->levels[o->level];
    while (qty > 0) {
        const int64_t taken = qty < o->qty ? qty : o->qty;
        o->qty -= taken;
        l->qty -= taken;
        qty -= taken;
        if (o->qty)
            return;
        if (!o->hidden) {
            book_order_unlink(b, index);
            book_order_free(b, index);
            return;
        }
        book_replenish(b, s, index);
    }
}

int64_t book_execute_resting(book *b, int64_t ts, int64_t order_id, int64_t qty, book_report *reports, int64_t cap)
{
    if (!b || cap < 0 || (cap > 0 && !reports))
        return BOOK_ERR_ARGUMENT;
    if (cap == 0)
        return BOOK_ERR_REPORTS_FULL;
    report_sink out = {reports, ts};
    const int32_t index = order_find(b, order_id);
    const int reason = resting_reason(b, index, qty);
    if (reason != BOOK_REASON_NONE) {
        b->ts_last = ts;
        return refuse(b, index, order_id, qty, reason, &out);
    }
    order *o = &b->orders[index];
    symbol_book *s = &b->symbols[o->symbol];
    const int64_t price = b->levels[o->level].price;
    if (s->status == MD_STATUS_TRADING && book_stops_within(b, s, price, price) && cap < book_reports_worst_all(s, 1))
        return BOOK_ERR_REPORTS_FULL;
    b->ts_last = ts;
    report_put(&out, BOOK_REPORT_TRADE, BOOK_REASON_NONE, o->symbol, o->side ^ 1, 0, order_id, price, qty, 0,
               order_leaves(o) - qty);
    book_trade_mark(b, s, price, qty);
    book_position_add(b, o->owner_index, o->symbol, o->side, qty);
    execute_peaks(b, s, index, qty);
    book_stops_run(b, s, &out);
    return out.next - reports;
}

int64_t book_reduce(book *b, int64_t ts, int64_t order_id, int64_t qty, book_report *reports, int64_t cap)
{
    if (!b || cap < 0 || (cap > 0 && !reports))
        return BOOK_ERR_ARGUMENT;
    if (cap == 0)
        return BOOK_ERR_REPORTS_FULL;
    b->ts_last = ts;
    report_sink out = {reports, ts};
    const int32_t index = order_find(b, order_id);
    const int reason = resting_reason(b, index, qty);
    if (reason != BOOK_REASON_NONE)
        return refuse(b, index, order_id, qty, reason, &out);
    const order *o = &b->orders[index];
    if (qty == order_leaves(o)) {
        book_order_leave(b, index, BOOK_REPORT_CANCELED, BOOK_REASON_REQUESTED, &out);
        return 1;
    }
    book_order_shrink(b, index, qty);
    report_put(&out, BOOK_REPORT_RESTATED, BOOK_REASON_REQUESTED, o->symbol, o->side, order_id, 0, order_price(b, index), qty,
               order_leaves(o), 0);
    return 1;
}
