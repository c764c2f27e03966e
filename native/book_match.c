/* book_match.c: matching, and the plain path (GTC limits without owner, and cancels) that most messages take. */

/* Pairing neighbouring fields in one wide access makes loads wait for narrow stores just made: 1 ns of 22 a message. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize ("no-tree-slp-vectorize")
#endif

#include "book_internal.h"

void book_position_add(book *b, int32_t owner_index, int32_t symbol, int side, int64_t qty)
{
    if (!owner_index)
        return;
    int64_t *position = position_of(b, owner_index, symbol);
    /* |position| <= 2^62 and qty <= 2^62: the sum fits, and is then held inside the limit. */
    const int64_t sum = side == BOOK_SIDE_BUY ? *position + qty : *position - qty;
    *position = sum > BOOK_POSITION_MAX ? BOOK_POSITION_MAX : sum < -BOOK_POSITION_MAX ? -BOOK_POSITION_MAX : sum;
}

BOOK_INLINE void totals_trade(book *b, int64_t price, int64_t qty)
{
    b->totals.trades++;
    b->totals.volume = (int64_t)((uint64_t)b->totals.volume + (uint64_t)qty);
    b->totals.notional = (int64_t)((uint64_t)b->totals.notional + (uint64_t)qty * (uint64_t)price);
}

BOOK_INLINE void mark_trade(symbol_book *s, int64_t price)
{
    s->last_price = price;
    s->has_last = 1;
    if (price < s->elect_low)
        s->elect_low = price;
    if (price > s->elect_high)
        s->elect_high = price;
}

void book_trade_mark(book *b, symbol_book *s, int64_t price, int64_t qty)
{
    totals_trade(b, price, qty);
    mark_trade(s, price);
}

/* A displayed peak is used up: the next one goes to the back of its level. */
void book_replenish(book *b, symbol_book *s, int32_t index)
{
    order *o = &b->orders[index];
    level *l = &b->levels[o->level];
    const int64_t display = b->details[index].display_qty;
    const int64_t peak = display < o->hidden ? display : o->hidden;
    const int32_t at = o->level;
    queue_remove(b, o, false);
    o->hidden -= peak;
    o->qty = peak;
    queue_append(b, at, index, false);
    s->peaks[l->side_index & (BOOK_SIDES - 1)]--;
}

/* The owner meets itself: what self-trade prevention does instead of a trade. */
static void self_trade(book *b, taker *t, int32_t maker_index, report_sink *out)
{
    order *m = &b->orders[maker_index];
    const int mode = b->config.stp_mode;
    if (mode == BOOK_STP_CANCEL_OLDEST || mode == BOOK_STP_CANCEL_BOTH)
        book_order_leave(b, maker_index, BOOK_REPORT_CANCELED, BOOK_REASON_SELF_TRADE, out);
    if (mode == BOOK_STP_CANCEL_NEWEST || mode == BOOK_STP_CANCEL_BOTH) {
        report_put(out, BOOK_REPORT_CANCELED, BOOK_REASON_SELF_TRADE, t->symbol, t->side, t->id, 0, t->named_price, t->left, 0,
                   0);
        t->stopped = 1;
    }
    if (mode != BOOK_STP_DECREMENT)
        return;
    const int64_t maker_leaves = order_leaves(m);
    const int64_t qty = t->left < maker_leaves ? t->left : maker_leaves;
    if (qty == maker_leaves) {
        book_order_leave(b, maker_index, BOOK_REPORT_CANCELED, BOOK_REASON_SELF_TRADE, out);
    } else {
        book_order_shrink(b, maker_index, qty);
        report_put(out, BOOK_REPORT_RESTATED, BOOK_REASON_SELF_TRADE, m->symbol, m->side, m->id, 0,
                   order_price(b, maker_index), qty, order_leaves(m), 0);
    }
    t->left -= qty;
    t->stopped = t->left == 0;
    report_put(out, t->left ? BOOK_REPORT_RESTATED : BOOK_REPORT_CANCELED, BOOK_REASON_SELF_TRADE, t->symbol, t->side, t->id, 0,
               t->named_price, qty, t->left, 0);
}

/* One meeting of a taker with a maker where either has an owner, hidden quantity or a reduce-only flag. */
static void match_special(book *b, symbol_book *s, taker *t, int32_t maker_index, report_sink *out)
{
    order *m = &b->orders[maker_index];
    level *l = &b->levels[m->level];
    const int64_t price = l->price;
    if (b->config.stp_mode != BOOK_STP_NONE && t->owner_index && t->owner_index == m->owner_index) {
        self_trade(b, t, maker_index, out);
        return;
    }
    if (m->special & ORDER_REDUCE_ONLY) {
        const int64_t allowed = reducible(b, m->owner_index, m->symbol, m->side);
        const int64_t leaves = order_leaves(m);
        if (allowed == 0) {
            book_order_leave(b, maker_index, BOOK_REPORT_CANCELED, BOOK_REASON_REDUCE_ONLY, out);
            return;
        }
        if (allowed < leaves) {
            book_order_shrink(b, maker_index, leaves - allowed);
            report_put(out, BOOK_REPORT_RESTATED, BOOK_REASON_REDUCE_ONLY, m->symbol, m->side, m->id, 0, price, leaves - allowed,
                       allowed, 0);
        }
    }
    const int64_t qty = t->left < m->qty ? t->left : m->qty;
    t->left -= qty;
    m->qty -= qty;
    l->qty -= qty;
    totals_trade(b, price, qty);
    mark_trade(s, price);
    book_position_add(b, t->owner_index, t->symbol, t->side, qty);
    book_position_add(b, m->owner_index, m->symbol, m->side, qty);
    report_put(out, BOOK_REPORT_TRADE, BOOK_REASON_NONE, t->symbol, t->side, t->id, m->id, price, qty, t->left, order_leaves(m));
    if (m->qty)
        return;
    if (m->hidden) {
        book_replenish(b, s, maker_index);
    } else {
        book_order_unlink(b, maker_index);
        book_order_free(b, maker_index);
    }
}

BOOK_INLINE void match_inline(book *b, symbol_book *s, taker *t, report_sink *out)
{
    const int opposite = t->side ^ 1;
    while (s->best[opposite]) {
        level *l = &b->levels[s->best[opposite]];
        const int64_t price = l->price;
        if (!crosses(t->side, t->price, price))
            return;
        int32_t index = l->head;
        do {
            order *m = &b->orders[index];
            if (BOOK_UNLIKELY(m->special | t->special)) {
                /* Copies, so that the address of neither escapes and both live in registers. */
                taker t_copy = *t;
                report_sink out_copy = *out;
                match_special(b, s, &t_copy, index, &out_copy);
                *t = t_copy;
                *out = out_copy;
                if (t->left == 0 || t->stopped)
                    return;
                break; /* the level may be gone */
            }
            const int64_t qty = t->left < m->qty ? t->left : m->qty;
            t->left -= qty;
            m->qty -= qty;
            l->qty -= qty;
            totals_trade(b, price, qty);
            mark_trade(s, price);
            report_put(out, BOOK_REPORT_TRADE, BOOK_REASON_NONE, t->symbol, t->side, t->id, m->id, price, qty, t->left, m->qty);
            if (m->qty)
                return;
            const int32_t next = m->next;
            l->head = next;
            l->orders--;
            s->orders[opposite]--;
            table_take(&b->order_table, hash_id(m->id), index);
            m->id = 0;
            m->next = b->free_order;
            b->free_order = index;
            b->live--;
            if (next) {
                b->orders[next].prev = 0;
            } else {
                l->tail = 0;
                book_level_drop(b, s->best[opposite]);
            }
            index = next;
            if (t->left == 0)
                return;
        } while (index);
    }
}

void book_match(book *b, symbol_book *s, taker *t, report_sink *out)
{
    match_inline(b, s, t, out);
}

/* ---- How many reports a message can make at most ---- */

static int64_t saturating_times4(int64_t n)
{
    /* Room is left for the caller to add one. */
    return n > INT64_MAX / 8 ? INT64_MAX / 2 : 4 * n;
}

/* Every order and every hidden peak of the symbol takes part: what a cascade of stops can reach. Each meeting uses up a peak, a
 * maker or a taker, and makes at most two reports; each order adds at most two of its own. */
int64_t book_reports_worst_all(const symbol_book *s, int64_t more)
{
    int64_t n = more + 4;
    for (int side = 0; side < BOOK_SIDES; side++)
        n += s->orders[side] + s->peaks[side] + (side >= BOOK_STOPS ? s->orders[side] : 0);
    return saturating_times4(n);
}

/* The most reports that an incoming order of `peaks` displayed parts can make. */
int64_t book_reports_worst(const book *b, const symbol_book *s, const taker *t, int64_t peaks)
{
    const int opposite = t->side ^ 1;
    const bool restates = (b->config.stp_mode != BOOK_STP_NONE && t->owner_index) || s->reduce_only;
    if (!s->best[opposite] || !crosses(t->side, t->price, b->levels[s->best[opposite]].price))
        return 3;
    const int64_t first = b->levels[s->best[opposite]].price;
    int64_t makers = 0, reachable = 0, reach = first;
    for (int32_t at = s->best[opposite]; at; at = b->levels[at].next) {
        const level *l = &b->levels[at];
        if (!crosses(t->side, t->price, l->price) || (!restates && reachable >= t->left))
            break;
        reach = l->price;
        makers += l->orders;
        reachable += l->qty + l->hidden;
    }
    if (s->orders[BOOK_STOPS] | s->orders[BOOK_STOPS + 1]) {
        if (book_stops_within(b, s, first < reach ? first : reach, first < reach ? reach : first))
            return book_reports_worst_all(s, peaks);
    }
    int64_t meetings = makers + s->peaks[opposite];
    if (restates)
        return saturating_times4(meetings + 2);
    if (t->left < meetings)
        meetings = t->left;
    return meetings + 4;
}

/* ---- The plain path ---- */

static int plain_reason(const book *b, const symbol_book *s, int64_t id, int side, int64_t price, int64_t qty)
{
    const book_order o = {.order_id = id, .price = price, .qty = qty, .symbol = s->index, .side = (uint8_t)side};
    int64_t at = 0;
    if ((side & ~1) != 0)
        return BOOK_REASON_BAD_FIELD;
    return book_order_reason(b, s, 0, &o, &at);
}

BOOK_INLINE bool on_grid(int64_t value, int64_t step)
{
    return step == 1 || value % step == 0;
}

static int refuse_plain(book *b, const symbol_book *s, int64_t id, int64_t side, int64_t price, int64_t qty, int64_t cap,
                        report_sink *out)
{
    const int known_side = (side & ~(int64_t)1) == 0 ? (int)side : BOOK_SIDES;
    const int reason = plain_reason(b, s, id, known_side, price, qty);
    if (!reason)
        return 0;
    if (out->next && cap < 1)
        return BOOK_ERR_REPORTS_FULL;
    report_put(out, BOOK_REPORT_REJECTED, reason, s->index, known_side, id, 0, price, qty, 0, 0);
    b->totals.rejected++;
    return 1;
}

static bool plain_fits(const book *b, const symbol_book *s, int64_t price, int64_t qty, int side, bool takes, int64_t cap)
{
    const taker t = {.price = price, .left = qty, .side = (uint8_t)side};
    return cap >= 1 && (!takes || book_reports_worst(b, s, &t, 1) <= cap);
}

BOOK_INLINE int32_t plain_slot(book *b, int32_t symbol, int side, int64_t id, int64_t qty)
{
    const int32_t index = b->free_order;
    order *o = &b->orders[index];
    b->free_order = o->next;
    b->live++;
    o->id = id;
    o->qty = qty;
    o->hidden = 0;
    o->owner = 0;
    o->owner_index = 0;
    o->symbol = symbol;
    o->side = (uint8_t)side;
    o->order_type = BOOK_TYPE_LIMIT;
    o->time_in_force = BOOK_TIF_GTC;
    o->flags = 0;
    o->special = 0;
    return index;
}

/* One GTC limit order on a symbol that is not in an auction. BOOK_ERR_REPORTS_FULL: no effect. */
BOOK_INLINE int submit_plain_inline(book *b, symbol_book *s, int64_t id, int64_t side_given, int64_t price, int64_t qty,
                                    report_sink *out, int64_t cap, bool quiet)
{
    const book_symbol *rules = &s->rules;
    if (BOOK_UNLIKELY(id <= 0 || (side_given & ~(int64_t)1) != 0 || s->status != MD_STATUS_TRADING || qty < rules->qty_min
                      || qty > rules->qty_max || price < rules->price_min || price > rules->price_max
                      || !on_grid(price, rules->tick) || !on_grid(qty, rules->lot) || b->live >= b->config.orders_max
                      || b->levels_used >= b->config.levels_max || order_find(b, id))) {
        report_sink out_copy = *out;
        const int refused = refuse_plain(b, s, id, side_given, price, qty, cap, &out_copy);
        *out = out_copy;
        if (refused)
            return refused < 0 ? refused : BOOK_OK;
    }
    const int side = (int)side_given;
    const int32_t facing = s->best[side ^ 1];
    const bool takes = facing && crosses(side, price, b->levels[facing].price);
    const bool stops = (s->orders[BOOK_STOPS] | s->orders[BOOK_STOPS + 1]) != 0;
    if (out->next && BOOK_UNLIKELY(cap < 3 || (takes && (cap < qty + 4 || stops || s->reduce_only)))) {
        if (!plain_fits(b, s, price, qty, side, takes, cap))
            return BOOK_ERR_REPORTS_FULL;
    }
    b->totals.accepted++;
    if (!quiet)
        report_put(out, BOOK_REPORT_ACCEPTED, BOOK_REASON_NONE, s->index, side, id, 0, price, qty, qty, 0);
    int64_t left = qty;
    if (takes) {
        taker t = {.id = id, .price = price, .named_price = price, .left = qty, .symbol = s->index, .side = (uint8_t)side};
        match_inline(b, s, &t, out);
        left = t.left;
    }
    if (left) {
        const int32_t index = plain_slot(b, s->index, side, id, left);
        table_put(&b->order_table, hash_id(id), index);
        int32_t at = level_find(b, s->index * BOOK_SIDES + side, price);
        if (BOOK_UNLIKELY(!at))
            at = book_level_make(b, s->index * BOOK_SIDES + side, price);
        queue_append(b, at, index, true);
        s->orders[side]++;
    }
    if (takes) {
        if (BOOK_UNLIKELY(stops)) {
            report_sink out_copy = *out;
            book_stops_run(b, s, &out_copy);
            *out = out_copy;
        } else {
            s->elect_low = INT64_MAX;
            s->elect_high = INT64_MIN;
        }
    }
    return BOOK_OK;
}

int64_t book_submit_plain(book *b, symbol_book *s, int64_t id, int side, int64_t price, int64_t qty, report_sink *out,
                          int64_t cap)
{
    const book_report *const first = out->next;
    const int code = submit_plain_inline(b, s, id, side, price, qty, out, cap, false);
    return code < 0 ? code : out->next - first;
}

BOOK_INLINE void cancel_inline(book *b, int64_t id, report_sink *out, bool quiet)
{
    const int32_t index = order_find(b, id);
    if (BOOK_UNLIKELY(!index)) {
        report_put(out, BOOK_REPORT_CANCEL_REJECTED, BOOK_REASON_UNKNOWN_ORDER, -1, 0, id, 0, 0, 0, 0, 0);
        b->totals.rejected++;
        return;
    }
    order *o = &b->orders[index];
    if (BOOK_UNLIKELY(o->special)) {
        report_sink out_copy = *out;
        book_order_leave(b, index, BOOK_REPORT_CANCELED, BOOK_REASON_REQUESTED, &out_copy);
        *out = out_copy;
        return;
    }
    const int32_t at = o->level;
    level *l = &b->levels[at];
    const int side = l->side_index & (BOOK_SIDES - 1);
    const int64_t price = BOOK_UNLIKELY(side & BOOK_STOPS) ? b->details[index].price : l->price;
    if (!quiet)
        report_put(out, BOOK_REPORT_CANCELED, BOOK_REASON_REQUESTED, o->symbol, o->side, id, 0, price, o->qty, 0, 0);
    b->totals.canceled++;
    b->symbols[o->symbol].orders[side]--;
    queue_remove(b, o, true);
    if (!l->head)
        book_level_drop(b, at);
    table_take(&b->order_table, hash_id(id), index);
    o->id = 0;
    o->level = 0;
    o->next = b->free_order;
    b->free_order = index;
    b->live--;
}

int64_t book_cancel_plain(book *b, int64_t id, report_sink *out)
{
    cancel_inline(b, id, out, false);
    return 1;
}

int64_t book_limit(book *b, int64_t order_id, int side, int64_t price, int64_t qty)
{
    if (!b)
        return BOOK_ERR_ARGUMENT;
    if (b->symbols_used == 0)
        return BOOK_ERR_SYMBOL;
    symbol_book *s = &b->symbols[0];
    if (BOOK_UNLIKELY(s->status == MD_STATUS_AUCTION)) {
        if ((side & ~1) != 0)
            return BOOK_ERR_ARGUMENT;
        report_sink out = {b->attached, b->ts_last};
        return book_submit_auction_limit(b, s, order_id, side, price, qty, &out, b->attached_cap);
    }
    if (b->attached_cap < 1)
        return BOOK_ERR_REPORTS_FULL;
    report_sink out = {b->attached, b->ts_last};
    const int code = submit_plain_inline(b, s, order_id, side, price, qty, &out, b->attached_cap, false);
    return code < 0 ? code : out.next - b->attached;
}

int64_t book_cancel_fast(book *b, int64_t order_id)
{
    if (!b)
        return BOOK_ERR_ARGUMENT;
    if (b->attached_cap < 1)
        return BOOK_ERR_REPORTS_FULL;
    report_sink out = {b->attached, b->ts_last};
    cancel_inline(b, order_id, &out, false);
    return 1;
}

/* Rows that only an auction or an unknown op makes special. */
static int batch_row_rare(book *b, symbol_book *s, int64_t op, int64_t id, int64_t side, int64_t price, int64_t qty,
                          report_sink *out, int64_t cap)
{
    const int known_side = (side & ~(int64_t)1) == 0 && op == 0 ? (int)side : BOOK_SIDES;
    const int64_t code = s->status == MD_STATUS_AUCTION && known_side != BOOK_SIDES
        ? book_submit_auction_limit(b, s, id, known_side, price, qty, out, cap)
        : book_submit_plain(b, s, id, known_side, price, qty, out, cap);
    return code < 0 ? (int)code : BOOK_OK;
}

BOOK_INLINE int batch_row(book *b, symbol_book *s, int64_t op, int64_t id, int64_t side, int64_t price, int64_t qty,
                          report_sink *out, int64_t cap, bool quiet)
{
    if (op == 1) {
        if (out->next && cap < 1)
            return BOOK_ERR_REPORTS_FULL;
        cancel_inline(b, id, out, quiet);
        return BOOK_OK;
    }
    if (BOOK_LIKELY(op == 0 && s->status != MD_STATUS_AUCTION))
        return submit_plain_inline(b, s, id, side, price, qty, out, cap, quiet);
    report_sink out_copy = *out;
    const int code = batch_row_rare(b, s, op, id, side, price, qty, &out_copy, cap);
    *out = out_copy;
    return code;
}

/* A batch knows which ids come next: their table lines are fetched while earlier rows are worked on, and, for cancels, the orders
 * these lines point to. */
#define FETCH_ENTRY 12
#define FETCH_ORDER 6

BOOK_INLINE void batch_fetch(const book *b, int64_t row, int64_t n, const int64_t *order_id)
{
    const index_table *t = &b->order_table;
    if (row + FETCH_ENTRY >= n)
        return;
    __builtin_prefetch(&t->entries[hash_id(order_id[row + FETCH_ENTRY]) >> t->shift]);
    const uint64_t entry = t->entries[hash_id(order_id[row + FETCH_ORDER]) >> t->shift];
    __builtin_prefetch(&b->orders[(uint32_t)entry]);
}

int64_t book_batch(book *b, int32_t symbol, int64_t n, const int64_t *ts, const int64_t *op, const int64_t *order_id,
                   const int64_t *side, const int64_t *price, const int64_t *qty, book_report *reports, int64_t cap,
                   int64_t *n_reports)
{
    if (!b || n < 0 || cap < 0 || (cap > 0 && !reports) || !n_reports
        || (n > 0 && (!ts || !op || !order_id || !side || !price || !qty)))
        return BOOK_ERR_ARGUMENT;
    if (symbol < 0 || symbol >= b->symbols_used)
        return BOOK_ERR_SYMBOL;
    symbol_book *s = &b->symbols[symbol];
    report_sink out = {cap ? reports : NULL, 0};
    const book_report *const end = reports + cap;
    const bool quiet = b->quiet;
    int64_t done = 0;
    for (; done < n; done++) {
        batch_fetch(b, done, n, order_id);
        out.ts = ts[done];
        const int64_t room = out.next ? end - out.next : 0;
        if (batch_row(b, s, op[done], order_id[done], side[done], price[done], qty[done], &out, room, quiet) < 0)
            break;
    }
    if (done)
        b->ts_last = ts[done - 1];
    *n_reports = out.next ? out.next - reports : 0;
    return done;
}
