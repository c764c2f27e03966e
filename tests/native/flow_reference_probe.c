/* flow_reference_probe.c: the generator set up as published models, run many times, for tests against their published numbers.
 *
 * flow_reference_probe cst TRIALS SEED       matrix of P(mid moves up), rows bid queue 1..5, columns ask queue 1..5
 * flow_reference_probe queue SECONDS SEED    share of time that the best bid queue has 0, 1, … orders, and its mean
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "market_data_api.h"

#include "book_api.h"

#include "flow_api.h"

#define PRICE_START 1000
#define SECOND INT64_C(1000000000)
#define REPORTS 4096

static book_report reports[REPORTS];

static flow_config unit_market(void)
{
    flow_config c;
    memset(&c, 0, sizeof c);
    c.ts_end = INT64_MAX / 2;
    c.tick = c.lot = 1;
    c.price_min = 1;
    c.price_max = 2000;
    c.price_start = PRICE_START;
    c.orders_max = 1024;
    c.order_id_first = 1;
    c.levels_n = 1;
    c.regimes_n = 1;
    c.regimes[0].limit_factor = c.regimes[0].market_factor = c.regimes[0].cancel_factor = 1.0;
    c.informed_scale_ticks = 1.0;
    c.limit_size_median = c.market_size_median = 1.0;
    c.size_max_lots = c.round_lots = 1;
    c.snapshot_levels = 1;
    return c;
}

static book *book_make(void)
{
    const book_config config = {.orders_max = 2048, .levels_max = 2048, .symbols_max = 1, .owners_max = 1};
    const book_symbol symbol = {.tick = 1, .lot = 1, .qty_min = 1, .qty_max = 1000000, .price_min = 1, .price_max = 2000};
    book *b = book_new(&config);
    if (b == NULL || book_symbol_add(b, &symbol) != 0) {
        exit(2);
    }
    return b;
}

static void snapshot_apply(flow *f, book *b)
{
    md_row rows[64];
    const int64_t n = flow_snapshot(f, rows, 64);
    for (int64_t i = 0; i < n; i++) {
        if (flow_apply(b, 0, &rows[i], reports, REPORTS) != 1) {
            exit(3);
        }
    }
}

/* Cont, Stoikov and Talreja 2010, spread of one tick: +1 when the ask queue empties first, -1 when the bid queue does. */
static int mid_moves(book *b, int bid_orders, int ask_orders, uint64_t seed)
{
    flow_config c = unit_market();
    c.seed = seed;
    c.limit_hz[0] = 1.85;
    c.cancel_hz[0] = 0.71;
    c.market_hz = 0.94;
    c.snapshot_bid_orders = bid_orders;
    c.snapshot_ask_orders = ask_orders;
    flow *f = flow_new(&c);
    if (f == NULL || book_mass_cancel(b, 0, 0, 0, -1, reports, REPORTS) < 0) {
        exit(4);
    }
    snapshot_apply(f, b);
    int moved = 0;
    while (moved == 0) {
        md_row row;
        if (flow_next(f, b, 0, c.ts_end, &row) != FLOW_ROW || flow_apply(b, 0, &row, reports, REPORTS) < 0) {
            exit(5);
        }
        if (book_level_qty(b, 0, BOOK_SIDE_SELL, PRICE_START + 1) == 0) {
            moved = 1;
        } else if (book_level_qty(b, 0, BOOK_SIDE_BUY, PRICE_START) == 0) {
            moved = -1;
        }
    }
    flow_free(f);
    return moved;
}

static void cst(long trials, uint64_t seed)
{
    book *b = book_make();
    for (int bid = 1; bid <= 5; bid++) {
        for (int ask = 1; ask <= 5; ask++) {
            long up = 0;
            for (long trial = 0; trial < trials; trial++) {
                up += mid_moves(b, bid, ask, seed + (uint64_t)trial * 25 + (uint64_t)(bid * 5 + ask)) > 0;
            }
            printf("%.6f%c", (double)up / (double)trials, ask == 5 ? '\n' : ' ');
        }
    }
    book_free(b);
}

/* Huang, Lehalle and Rosenbaum 2015, one queue at a fixed reference price: births 1, deaths .2 n + .4. */
static void queue(int64_t seconds, uint64_t seed)
{
    enum { SIZES = 64 };
    flow_config c = unit_market();
    c.seed = seed;
    c.anchor = FLOW_ANCHOR_FAIR;
    c.limit_hz[0] = 1.0;
    c.cancel_hz[0] = 0.2;
    c.market_hz = 0.4;
    c.ts_end = seconds * SECOND;
    book *b = book_make();
    flow *f = flow_new(&c);
    if (f == NULL) {
        exit(4);
    }
    int64_t time_ns[SIZES] = {0};
    int64_t ts = 0;
    int64_t size = 0;
    md_row row;
    while (flow_next(f, b, 0, c.ts_end, &row) == FLOW_ROW) {
        time_ns[size] += row.ts_event - ts;
        ts = row.ts_event;
        if (flow_apply(b, 0, &row, reports, REPORTS) < 0) {
            exit(5);
        }
        size = book_level_qty(b, 0, BOOK_SIDE_BUY, PRICE_START);
        if (size >= SIZES) {
            exit(6);
        }
    }
    double mean = 0.0;
    for (int n = 0; n < SIZES; n++) {
        mean += n * (double)time_ns[n] / (double)ts;
    }
    for (int n = 0; n < 6; n++) {
        printf("%.6f ", (double)time_ns[n] / (double)ts);
    }
    printf("%.6f\n", mean);
    flow_free(f);
    book_free(b);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: flow_reference_probe cst TRIALS SEED | queue SECONDS SEED\n");
        return 1;
    }
    if (strcmp(argv[1], "cst") == 0) {
        cst(atol(argv[2]), strtoull(argv[3], NULL, 10));
    } else {
        queue(atoll(argv[2]), strtoull(argv[3], NULL, 10));
    }
    return 0;
}
