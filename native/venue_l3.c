/* venue_l3.c: the exchange with an order-by-order book: our commands, what the book reports of them, and views.
 *
 * Our orders live in the same native book as everybody's and move the market; what recorded rows do is in venue_l3_rows.c.
 */

#include "venue_l3.h"

#include <stdlib.h>
#include <string.h>

/* ---- What the book reports, told to us and to everybody ---- */

static own_order *own_of(const venue *v, int64_t book_id)
{
    return book_id >= OWN_BOOK_ID ? &v->orders[book_id - OWN_BOOK_ID] : NULL;
}

static void own_gone(venue *v, instrument *in, own_order *o)
{
    in->l3->n_own--;
    own_free(v, o);
}

static void own_fill(venue *v, instrument *in, own_order *o, const book_report *r, int64_t leaves, int64_t taker)
{
    o->leaves = leaves;
    o->filled += r->qty;
    in->position += o->side == BOOK_SIDE_BUY ? r->qty : -r->qty;
    answer_put(v, in->index, VENUE_EV_FILL, o->id, r->price, r->qty, leaves, taker | (o->side << 1), ++v->execution_id);
    if (leaves == 0)
        own_gone(v, in, o);
}

static void own_report(venue *v, instrument *in, own_order *o, const book_report *r)
{
    switch (r->kind) {
    case BOOK_REPORT_ACCEPTED:
        o->price = r->price;
        answer_put(v, in->index, VENUE_EV_ACCEPTED, o->id, r->price, r->leaves_qty, 0, 0, 0);
        return;
    case BOOK_REPORT_REJECTED:
        answer_put(v, in->index, VENUE_EV_REJECTED, o->id, r->reason, 0, 0, 0, 0);
        own_gone(v, in, o);
        return;
    case BOOK_REPORT_CANCELED:
        answer_put(v, in->index, VENUE_EV_CANCELED, o->id, r->qty, r->reason, 0, 0, 0);
        own_gone(v, in, o);
        return;
    case BOOK_REPORT_EXPIRED:
        answer_put(v, in->index, VENUE_EV_EXPIRED, o->id, r->qty, 0, 0, 0, 0);
        own_gone(v, in, o);
        return;
    case BOOK_REPORT_REPLACED:
        o->price = r->price;
        o->leaves = r->leaves_qty;
        answer_put(v, in->index, VENUE_EV_REPLACED, o->id, r->price, r->leaves_qty, 0, 0, 0);
        return;
    case BOOK_REPORT_TRIGGERED:
        o->state = OWN_RESTING;
        answer_put(v, in->index, VENUE_EV_TRIGGERED, o->id, 0, 0, 0, 0, 0);
        return;
    case BOOK_REPORT_RESTATED:
        o->leaves = r->leaves_qty;
        answer_put(v, in->index, VENUE_EV_RESTATED, o->id, r->leaves_qty, r->reason, 0, 0, 0);
        return;
    case BOOK_REPORT_CANCEL_REJECTED:
        answer_put(v, in->index, VENUE_EV_CANCEL_REJECTED, o->id, r->reason, 0, 0, 0, 0);
        return;
    default:
        answer_put(v, in->index, VENUE_EV_REPLACE_REJECTED, o->id, r->reason, 0, 0, 0, 0);
        return;
    }
}

static void trade_report(venue *v, instrument *in, const book_report *r, int64_t visible_ts)
{
    venue_l3 *x = in->l3;
    own_order *taker = own_of(v, r->order_id), *maker = own_of(v, r->contra_id);
    in->last_price = r->price;
    in->has_last = 1;
    if (!maker && !x->source) {
        const ghost *g = ghost_find(x, r->contra_id);
        if (g || taker)
            ghost_set(v, x, r->contra_id, g ? g->left : r->contra_leaves_qty + r->qty);
    }
    if (taker)
        own_fill(v, in, taker, r, r->leaves_qty, 1);
    if (maker)
        own_fill(v, in, maker, r, r->contra_leaves_qty, 0);
    if (in->wake & VENUE_WAKE_TRADE)
        feed_put(v, in, visible_ts, MD_TRADE, r->side, r->price, r->qty);
}

/* Kinds of reports after which a level may hold another quantity. */
#define LEVEL_KINDS                                                                                                          \
    (1u << BOOK_REPORT_ACCEPTED | 1u << BOOK_REPORT_TRADE | 1u << BOOK_REPORT_CANCELED | 1u << BOOK_REPORT_REPLACED               \
     | 1u << BOOK_REPORT_EXPIRED | 1u << BOOK_REPORT_RESTATED)

/* Turns reports into answers and feed. Level totals are told as they stand now: the last of a run of reports at one price says it. */
void reports_tell(venue *v, instrument *in, int64_t n, int64_t visible_ts)
{
    const book_report *reports = in->l3->reports;
    for (int64_t i = 0; i < n; i++) {
        const book_report *r = &reports[i];
        const bool trade = r->kind == BOOK_REPORT_TRADE;
        const int side = trade ? r->side ^ 1 : r->side;
        if (trade) {
            trade_report(v, in, r, visible_ts);
        } else {
            own_order *o = own_of(v, r->order_id);
            if (o)
                own_report(v, in, o, r);
        }
        if (!(LEVEL_KINDS >> r->kind & 1))
            continue;
        const book_report *next = r + 1;
        const bool same = i + 1 < n && next->price == r->price && next->kind == BOOK_REPORT_TRADE && trade && next->side == r->side;
        if (!same)
            tell_level(v, in, visible_ts, side, r->price);
    }
}

static int64_t own_visible(const venue *v)
{
    return v->clock_venue + v->config.feed_latency_ns;
}

/* The packet ends: whoever listens may look. */
void packet_end(venue *v, instrument *in, int64_t visible_ts)
{
    feed_ring *ring = &v->feed;
    if (!in->l3->open)
        return;
    if (ring->head == ring->tail || ring->items[(ring->tail - 1) & ring->mask].instrument != in->index)
        feed_put(v, in, visible_ts, MD_STATUS, 0, 0, 0); /* says nothing but that the packet ends */
    ring->items[(ring->tail - 1) & ring->mask].last = 1;
    in->l3->open = false;
}

/* ---- Our commands ---- */

/* The book refuses what could make more reports than fit: an iceberg of absurdly many peaks. Nothing was changed then. */
static bool fits(int64_t reports)
{
    return reports >= 0;
}

void l3_submit(venue *v, instrument *in, const venue_order *order)
{
    venue_l3 *x = in->l3;
    if (in->gap) { /* between a gap and the next snapshot nobody knows what the order would meet */
        answer_put(v, in->index, VENUE_EV_REJECTED, order->client_order_id, BOOK_REASON_CLOSED, 0, 0, 0, 0);
        return;
    }
    own_order *o = own_new(v, order);
    o->state = order->order_type == BOOK_TYPE_STOP || order->order_type == BOOK_TYPE_STOP_LIMIT ? OWN_PARKED : OWN_RESTING;
    x->n_own++;
    const book_order at_venue = {.order_id = own_book_id(v, o), .owner = OWN_OWNER, .price = order->price,
                                 .trigger_price = order->trigger_price, .qty = order->qty, .display_qty = order->display_qty,
                                 .expire_ts = order->expire_ts, .side = order->side, .order_type = order->order_type,
                                 .time_in_force = order->time_in_force, .flags = order->flags};
    const int64_t n = book_submit(x->book, v->clock_venue, &at_venue, x->reports, x->reports_cap);
    if (!fits(n)) {
        answer_put(v, in->index, VENUE_EV_REJECTED, o->id, BOOK_REASON_FULL, 0, 0, 0, 0);
        own_gone(v, in, o);
        return;
    }
    reports_tell(v, in, n, own_visible(v));
    packet_end(v, in, own_visible(v));
}

void l3_cancel(venue *v, instrument *in, own_order *o)
{
    venue_l3 *x = in->l3;
    const int64_t n = book_cancel(x->book, v->clock_venue, own_book_id(v, o), x->reports, x->reports_cap);
    reports_tell(v, in, n, own_visible(v));
    packet_end(v, in, own_visible(v));
}

void l3_replace(venue *v, instrument *in, own_order *o, int64_t qty, int64_t price)
{
    venue_l3 *x = in->l3;
    const int64_t price_before = o->price;
    const int side = o->side;
    const int64_t n = book_replace(x->book, v->clock_venue, own_book_id(v, o), qty, price, x->reports, x->reports_cap);
    if (!fits(n)) {
        answer_put(v, in->index, VENUE_EV_REPLACE_REJECTED, o->id, BOOK_REASON_FULL, 0, 0, 0, 0);
        return;
    }
    reports_tell(v, in, n, own_visible(v));
    if (x->reports[0].kind == BOOK_REPORT_REPLACED && x->reports[0].price != price_before)
        tell_level(v, in, own_visible(v), side, price_before);
    packet_end(v, in, own_visible(v));
}

void l3_mass_cancel(venue *v, instrument *in)
{
    venue_l3 *x = in->l3;
    reports_tell(v, in, book_mass_cancel(x->book, v->clock_venue, OWN_OWNER, 0, -1, x->reports, x->reports_cap), own_visible(v));
    packet_end(v, in, own_visible(v));
}

void l3_end_of_day(venue *v, instrument *in)
{
    venue_l3 *x = in->l3;
    reports_tell(v, in, book_end_of_day(x->book, v->clock_venue, 0, x->reports, x->reports_cap), own_visible(v));
    packet_end(v, in, own_visible(v));
}

void l3_expire(venue *v, instrument *in, int64_t ts)
{
    venue_l3 *x = in->l3;
    reports_tell(v, in, book_advance(x->book, ts, x->reports, x->reports_cap), own_visible(v));
    packet_end(v, in, own_visible(v));
}

/* ---- Making, views, checking ---- */

int l3_new(venue *v, instrument *in)
{
    const venue_instrument *rules = &in->rules;
    if (rules->orders_max < 1 || rules->orders_max > VENUE_ORDERS_LIMIT)
        return VENUE_ERR_ARGUMENT;
    venue_l3 *x = calloc(1, sizeof *x);
    if (!x)
        return VENUE_ERR_FULL;
    in->l3 = x;
    const int64_t orders = rules->orders_max + v->config.orders_max;
    const book_config config = {.orders_max = orders, .levels_max = rules->levels_max * 2, .symbols_max = 1, .owners_max = 2,
                                .stp_mode = v->config.stp_mode == BOOK_STP_NONE ? BOOK_STP_CANCEL_NEWEST : v->config.stp_mode};
    /* What the tape brings is taken as it is; our own orders are held to the instrument's rules before they come here. */
    const book_symbol symbol = {.tick = rules->tick, .lot = 1, .qty_min = 1, .qty_max = VENUE_QTY_LIMIT,
                                .price_min = -LADDER_PRICE_LIMIT, .price_max = LADDER_PRICE_LIMIT};
    x->reports_cap = 4 * orders + 4096;
    x->ghosts_max = (int32_t)orders;
    uint32_t slots = 16;
    while (slots < 2 * orders)
        slots *= 2;
    x->ghost_mask = slots - 1;
    x->book = book_new(&config);
    x->reports = calloc((size_t)x->reports_cap, sizeof *x->reports);
    x->ghosts = calloc(slots, sizeof *x->ghosts);
    if (!x->book || !x->reports || !x->ghosts || book_symbol_add(x->book, &symbol) != 0)
        return VENUE_ERR_FULL;
    return book_reports_attach(x->book, x->reports, x->reports_cap);
}

void l3_free(venue_l3 *x)
{
    if (!x)
        return;
    book_free(x->book);
    free(x->reports);
    free(x->ghosts);
    free(x);
}

int64_t l3_depth(const instrument *in, int side, book_level *out, int64_t cap)
{
    return book_levels(in->l3->book, 0, side, out, cap);
}

int64_t l3_queue_ahead(const venue *v, const instrument *in, const own_order *o)
{
    return book_queue_ahead(in->l3->book, own_book_id(v, o));
}

/* A tape may cross its own book; a book that matches everything never is crossed while it trades, and its checker says so. */
static bool book_holds(const venue_l3 *x)
{
    symbol_book *s = &x->book->symbols[0];
    const uint8_t status = s->status;
    if (s->best[0] && s->best[1] && x->book->levels[s->best[0]].price >= x->book->levels[s->best[1]].price)
        s->status = MD_STATUS_AUCTION;
    const bool holds = book_check(x->book) == BOOK_OK;
    s->status = status;
    return holds;
}

bool l3_check(const venue *v, const instrument *in)
{
    const venue_l3 *x = in->l3;
    int32_t own = 0, ghosts = 0;
    if (!book_holds(x) || book_position(x->book, OWN_OWNER, 0) != in->position)
        return false;
    for (int64_t i = 0; i < v->config.orders_max; i++) {
        const own_order *o = &v->orders[i];
        if (o->state == OWN_FREE || o->instrument != in->index)
            continue;
        own++;
        if (leaves_of(x, own_book_id(v, o)) != o->leaves || own_find(v, o->id) != o)
            return false;
    }
    for (uint32_t slot = 0; slot <= x->ghost_mask; slot++) {
        const ghost *g = &x->ghosts[slot];
        if (g->id == 0)
            continue;
        ghosts++;
        if (g->left < 0 || ghost_find(x, g->id) != g || leaves_of(x, g->id) == g->left)
            return false;
    }
    return own == x->n_own && ghosts == x->n_ghosts;
}
