/* market_data_api.h: the one row every market-data source is turned into.
 *
 * A recorded file, a live feed and the order-flow generator all become arrays of md_row; the
 * simulated venue reads nothing else. 48 bytes, no padding: the numpy dtype in native/market_data.py
 * has the same layout and a test holds the two together.
 *
 * Plain declarations only: this file is both the cffi definition and what the C sources include.
 */

/* Level-2 rows: price level -> total displayed quantity. */
#define MD_LEVEL 0    /* price's new total is qty; 0 removes the level */
#define MD_TRADE 1    /* public print; side is the aggressor's (0 buy, 1 sell, 2 unknown) */
#define MD_CLEAR 2    /* both sides emptied; a snapshot follows */
#define MD_BBO 3      /* best bid (side 0) or best ask (side 1) as the venue states it; qty 0: none */
/* Level-3 rows: order by order. order_id names the resting order. */
#define MD_ADD 8      /* new order; may match when MD_FLAG_AGGRESSIVE or when it crosses an own order */
#define MD_REDUCE 9   /* order_id loses qty by cancellation, keeps its place */
#define MD_DELETE 10  /* order_id leaves; qty, when positive, is the quantity the source says was left */
#define MD_EXECUTE 11 /* order_id (side: the resting order's) is hit for qty at price */
#define MD_MODIFY 12  /* order_id now has price and qty; loses its place unless qty only shrank */
#define MD_HIDDEN 13  /* execution of a hidden order; never changes the visible book */
#define MD_CROSS 14   /* auction print */
/* Both. */
#define MD_STATUS 15  /* price is one of the trading states below */
#define MD_GAP 16     /* the source lost data here; the book is not to be trusted until MD_CLEAR */

#define MD_STATUS_TRADING 0
#define MD_STATUS_HALTED 1
#define MD_STATUS_AUCTION 2
#define MD_STATUS_CLOSED 3

#define MD_SIDE_BUY 0
#define MD_SIDE_SELL 1
#define MD_SIDE_NONE 2

#define MD_FLAG_LAST 1       /* the packet ends here: the book is consistent and may be looked at */
#define MD_FLAG_SNAPSHOT 2   /* part of a snapshot, not a change */
#define MD_FLAG_AGGRESSIVE 4 /* MD_ADD that is meant to match first; the remainder rests */
#define MD_FLAG_IOC 8        /* MD_ADD whose remainder does not rest */

typedef struct {
    int64_t ts_event;   /* ns UTC at the venue; never decreases along a tape */
    int64_t ts_init;    /* ns UTC when we received it; never decreases along a tape */
    int64_t price;      /* points of 10^-price_scale */
    int64_t qty;        /* units of 10^-qty_scale */
    int64_t order_id;   /* level-3 order id or trade id; 0 otherwise */
    int32_t instrument; /* index given by venue_instrument_add */
    uint8_t kind;
    uint8_t side;
    uint16_t flags;
} md_row;
