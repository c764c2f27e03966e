/* venue_l2_tape.c: what recorded levels and prints do to our resting orders. The fill assumptions are those of venue_l2.c. */

#include "venue_l2.h"

/* ---- What the tape does to resting orders ---- */

/* Fills a resting order up to qty, or ends it when reduce-only forbids; gives what was filled. */
static int64_t fill_resting(venue *v, instrument *in, own_order *o, int64_t qty)
{
    if (!reduce_only_fits(v, in, o)) {
        l2_cancel(v, in, o, VENUE_EV_CANCELED, BOOK_REASON_REDUCE_ONLY);
        return 0;
    }
    if (qty > o->leaves)
        qty = o->leaves;
    l2_fill(v, in, o, o->price, qty, 0);
    if (o->leaves == 0) {
        own_remove(v, &in->own[o->side], o);
        own_free(v, o);
    } else if (o->shown == 0) {
        /* An iceberg's next peak goes to the back of the level. */
        const int64_t key = ladder_key(o->side, o->price);
        own_side *own = &in->own[o->side];
        const int64_t traded = o->traded;
        own_remove(v, own, o);
        o->shown = o->display_qty < o->leaves ? o->display_qty : o->leaves;
        o->ahead = (double)(ladder_get(&in->book.side[o->side], key) - overlay_get(&in->taken[o->side], key));
        o->traded = traded;
        own_insert(v, own, o);
    }
    return qty;
}

/* A print at our price: it uses up what is before us, then us, then what is before the next of ours. */
static void trade_at_level(venue *v, instrument *in, int side, int64_t key, int64_t printed, int64_t left)
{
    own_side *own = &in->own[side];
    int32_t at = own_after(own, key);
    while (at > 0 && own->key[at - 1] == key)
        at--;
    int64_t eaten = 0;
    int32_t count = own_after(own, key) - at; /* replenished icebergs go behind these and are not visited again */
    while (count-- > 0) {
        own_order *o = own_at(v, own, at);
        o->traded += printed;
        int64_t before = ahead_lots(in, o) - eaten;
        if (before < 0)
            before = 0;
        const int64_t uses = left < before ? left : before;
        eaten += uses;
        left -= uses;
        o->ahead = o->ahead > (double)eaten ? o->ahead - (double)eaten : 0.0;
        int64_t filled = lots_down(in, left);
        if (filled > o->shown)
            filled = o->shown;
        const own_order *const here = o;
        if (filled > 0)
            left -= fill_resting(v, in, o, filled);
        if (at < own->n && own_at(v, own, at) == here)
            at++;
    }
}

static void trade_side(venue *v, instrument *in, int side, const md_row *row)
{
    own_side *own = &in->own[side];
    const int64_t key = ladder_key(side, row->price);
    int64_t left = row->qty;
    /* A print through our price: the aggressor would have met us first, for as much as it printed. */
    while (own->best_key > key) {
        const int64_t qty = lots_down(in, left);
        if (qty == 0)
            return;
        left -= fill_resting(v, in, own_at(v, own, 0), qty);
    }
    if (own->best_key == key)
        trade_at_level(v, in, side, key, row->qty, left);
}

void l2_trade(venue *v, instrument *in, const md_row *row)
{
    in->last_price = row->price;
    in->has_last = 1;
    if (row->price < in->packet_low)
        in->packet_low = row->price;
    if (row->price > in->packet_high)
        in->packet_high = row->price;
    if (!continuous(in))
        return;
    /* An aggressor meets the other side; where the source does not say, the price decides. */
    if (row->side != MD_SIDE_BUY && in->own[0].n)
        trade_side(v, in, 0, row);
    if (row->side != MD_SIDE_SELL && in->own[1].n)
        trade_side(v, in, 1, row);
}

/* A recorded level at or through our price: its owner would have met us first, so it fills us at our price and is gone. */
static void cross_side(venue *v, instrument *in, int side)
{
    own_side *own = &in->own[side];
    while (own->n) {
        int64_t available;
        const int64_t key = available_next(in, side ^ 1, INT64_MAX, &available);
        if (key == LADDER_EMPTY || key < ~own->best_key)
            return;
        const int64_t filled = fill_resting(v, in, own_at(v, own, 0), available);
        if (filled)
            overlay_set(&in->taken[side ^ 1], key, overlay_get(&in->taken[side ^ 1], key) + filled);
    }
}

void l2_packet_end_own(venue *v, instrument *in)
{
    const int64_t low = in->packet_low, high = in->packet_high;
    if (!continuous(in))
        return; /* prints wait for the first packet of continuous trading to trigger stops */
    in->packet_low = INT64_MAX;
    in->packet_high = INT64_MIN;
    for (int side = 0; side < 2; side++)
        cross_side(v, in, side);
    for (int32_t at = 0; low <= high && at < in->n_parked;) {
        own_order *o = &v->orders[in->parked[at]];
        if (stop_reached(in, o, low, high))
            l2_trigger(v, in, o);
        else
            at++;
    }
}

static int level_set(venue *v, instrument *in, int side, int64_t key, int64_t qty)
{
    int64_t before;
    const int code = ladder_set(&in->book.side[side], key, qty, &before);
    if (code == LADDER_OK && (in->own[side].n || in->taken[side].n))
        l2_level_own(v, in, side, key, before, qty);
    return code;
}

/* As depth_bbo does for our view, with what it means for our orders. */
int l2_bbo(venue *v, instrument *in, const md_row *row)
{
    const int side = row->side;
    ladder *l = &in->book.side[side];
    const int64_t key = ladder_key(side, row->price);
    const bool replaces = row->qty == 0 || !in->book.levels_seen[side];
    int64_t qty;
    for (int64_t at = l->best_key; at != LADDER_EMPTY && (replaces || at > key); at = ladder_next(l, at, &qty))
        if (row->qty == 0 || at != key)
            level_set(v, in, side, at, 0);
    return row->qty ? level_set(v, in, side, key, row->qty) : LADDER_OK;
}

/* The book starts again: what we took is history, queue positions wait for the new levels. */
void l2_clear(venue *v, instrument *in)
{
    for (int side = 0; side < 2; side++) {
        ladder_clear(&in->book.side[side]);
        in->taken[side].n = 0;
        in->book.levels_seen[side] = 0;
        for (int32_t at = 0; at < in->own[side].n; at++)
            own_at(v, &in->own[side], at)->traded = 0;
    }
    in->gap = 0;
}
