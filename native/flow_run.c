/* flow_run.c: the generator against a book: the initial book, rows applied, whole stretches, and the checker. */
#include "flow_internal.h"

#include <stdlib.h>

int64_t flow_snapshot(flow *f, md_row *out, int64_t cap)
{
    if (f == NULL || out == NULL || f->ts_next != FLOW_NOT_SCHEDULED || f->table_n != 0) {
        return FLOW_ERR_ARGUMENT;
    }
    const flow_config *c = &f->config;
    const int64_t rows_max = (int64_t)c->snapshot_levels * ((int64_t)c->snapshot_bid_orders + c->snapshot_ask_orders);
    if (rows_max > cap || rows_max > c->orders_max || rows_max > FLOW_ORDER_ID_MAX - f->order_id_next) {
        return FLOW_ERR_FULL;
    }
    const int64_t middle = c->price_start / c->tick; /* the fair value is half a tick above */
    int64_t n = 0;
    for (int64_t level = 0; level < c->snapshot_levels; level++) {
        for (int side = 0; side < 2; side++) {
            const int64_t price = side == MD_SIDE_BUY ? middle - level : middle + 1 + level;
            const int orders = side == MD_SIDE_BUY ? c->snapshot_bid_orders : c->snapshot_ask_orders;
            for (int i = 0; i < orders && price >= f->tick_min && price <= f->tick_max; i++) {
                const int64_t qty = flow_size(f, &f->limit_size);
                flow_limit_row(f, c->ts_start, side, price, qty, MD_FLAG_SNAPSHOT, &out[n++]);
            }
        }
    }
    if (n > 0) {
        out[n - 1].flags |= MD_FLAG_LAST;
    }
    return n;
}

int64_t flow_apply(book *b, int32_t symbol, const md_row *row, book_report *reports, int64_t cap)
{
    if (row->kind == MD_ADD) {
        const book_order order = {
            .order_id = row->order_id,
            .price = row->price,
            .qty = row->qty,
            .symbol = symbol,
            .side = row->side,
            .order_type = BOOK_TYPE_LIMIT,
            .time_in_force = row->flags & MD_FLAG_IOC ? BOOK_TIF_IOC : BOOK_TIF_GTC,
        };
        return book_submit(b, row->ts_event, &order, reports, cap);
    }
    if (row->kind == MD_DELETE) {
        return book_cancel(b, row->ts_event, row->order_id, reports, cap);
    }
    if (row->kind == MD_REDUCE) {
        return book_reduce(b, row->ts_event, row->order_id, row->qty, reports, cap);
    }
    return BOOK_ERR_ARGUMENT;
}

int64_t flow_replay(book *b, int32_t symbol, const md_row *rows, int64_t n, book_report *reports, int64_t cap)
{
    for (int64_t i = 0; i < n; i++) {
        if (flow_apply(b, symbol, &rows[i], reports, cap) < 0) {
            return i;
        }
    }
    return n;
}

int64_t flow_run(flow *f, book *b, int32_t symbol, int64_t until_ts, md_row *rows, int64_t cap, int *status)
{
    int64_t n = 0;
    md_row row;
    *status = FLOW_ROW;
    while (n < cap) {
        const int next = flow_next(f, b, symbol, until_ts, &row);
        if (next != FLOW_ROW) {
            *status = next;
            break;
        }
        if (rows != NULL) {
            rows[n] = row;
        }
        n++;
        const int64_t reports = flow_apply(b, symbol, &row, f->reports, f->reports_cap);
        if (reports < 0) {
            *status = (int)reports;
            break;
        }
    }
    return n;
}

static int compare_ids(const void *left, const void *right)
{
    const int64_t a = *(const int64_t *)left;
    const int64_t b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* Entries that the book still holds must agree with it; all ids distinct and handed out. */
static int table_check(flow *f, const book *b, int32_t symbol)
{
    const flow_config *c = &f->config;
    for (int64_t i = 0; i < f->table_n; i++) {
        const flow_entry *entry = &f->table[i];
        f->check_ids[i] = entry->order_id;
        if (entry->order_id < c->order_id_first || entry->order_id >= f->order_id_next) {
            return FLOW_ERR_CORRUPT;
        }
        if (entry->price_ticks < f->tick_min || entry->price_ticks > f->tick_max || (entry->side != 0 && entry->side != 1)) {
            return FLOW_ERR_CORRUPT;
        }
        book_order_view view;
        if (book_order_get(b, entry->order_id, &view) == 1
            && (view.price != entry->price_ticks * c->tick || view.side != entry->side || view.symbol != symbol || view.owner != 0)) {
            return FLOW_ERR_CORRUPT;
        }
    }
    qsort(f->check_ids, (size_t)f->table_n, sizeof *f->check_ids, compare_ids);
    for (int64_t i = 1; i < f->table_n; i++) {
        if (f->check_ids[i] == f->check_ids[i - 1]) {
            return FLOW_ERR_CORRUPT;
        }
    }
    return 0;
}

/* Every order of ours in the book must stand in the table, or it could never be cancelled. Needs sorted check_ids. */
static int book_side_check(flow *f, const book *b, int32_t symbol, int side)
{
    const int64_t n = book_orders(b, symbol, side, f->check_views, f->config.orders_max);
    for (int64_t i = 0; i < n; i++) {
        const int64_t id = f->check_views[i].order_id;
        const int own = id >= f->config.order_id_first && id < f->order_id_next;
        if (own && bsearch(&id, f->check_ids, (size_t)f->table_n, sizeof id, compare_ids) == NULL) {
            return FLOW_ERR_CORRUPT;
        }
    }
    return 0;
}

int flow_check(flow *f, const book *b, int32_t symbol)
{
    if (f == NULL || b == NULL) {
        return FLOW_ERR_ARGUMENT;
    }
    const flow_config *c = &f->config;
    if (f->table_n < 0 || f->table_n > c->orders_max || f->regime < 0 || f->regime >= c->regimes_n) {
        return FLOW_ERR_CORRUPT;
    }
    if (f->ts < c->ts_start || f->ts >= c->ts_end || (f->ts_next != FLOW_NOT_SCHEDULED && f->ts_next < f->ts)) {
        return FLOW_ERR_CORRUPT;
    }
    if (!(f->fair_ticks >= (double)f->tick_min && f->fair_ticks <= (double)f->tick_max)) {
        return FLOW_ERR_CORRUPT;
    }
    for (int i = 0; i < c->parents_n; i++) {
        if (f->parents[i].left < 1 || (f->parents[i].side != 0 && f->parents[i].side != 1)) {
            return FLOW_ERR_CORRUPT;
        }
    }
    int status = table_check(f, b, symbol);
    for (int side = 0; side < 2 && status == 0; side++) {
        status = book_side_check(f, b, symbol, side);
    }
    return status;
}
