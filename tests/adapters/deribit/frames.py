"""Frames as the venue's documentation and its public examples show them; each is a shape of its own."""

from __future__ import annotations

ORDER = (
    '{"label":"t-1-7","price":2973.55,"user_id":96103,"amount":0.010,"direction":"buy","time_in_force":"good_til_cancelled",'
    '"instrument_name":"ETH_USDC-PERPETUAL","web":false,"api":true,"order_id":"USDC-104819327443",'
    '"creation_timestamp":1767978363493,"replaced":false,"filled_amount":0.0,"last_update_timestamp":1767978363493,'
    '"post_only":true,"reduce_only":false,"average_price":0.0,"mmp":false,"contracts":1.0,"reject_post_only":false,'
    '"order_state":"open","order_type":"limit","is_liquidation":false,"risk_reducing":false}'
)
STOP = (
    '{"label":"t-1-8","price":"market_price","user_id":96103,"amount":10.0,"direction":"sell",'
    '"time_in_force":"good_til_cancelled","instrument_name":"BTC-PERPETUAL","web":false,"api":true,"order_id":"SLTS-370","creation_timestamp":1776960375531,'
    '"replaced":false,"filled_amount":0.0,"last_update_timestamp":1776960375531,"post_only":false,"reduce_only":true,'
    '"average_price":0.0,"trigger_price":2228.0,"trigger":"last_price","mmp":false,"contracts":1.0,"reject_post_only":false,'
    '"order_state":"untriggered","order_type":"stop_market","is_liquidation":false,"risk_reducing":true}'
)
TRADE = (
    '{"trade_seq":299513,"trade_id":"47958936","timestamp":1589923311862,"tick_direction":2,"state":"filled","reduce_only":false,'
    '"price":9681.5,"post_only":false,"order_type":"limit","order_id":"3993343822","matching_id":null,"mark_price":9684,'
    '"liquidity":"M","instrument_name":"BTC-PERPETUAL","index_price":9679.48,"fee_currency":"BTC","fee":-2.1e-7,'
    '"direction":"buy","amount":10,"label":"t-1-9"}'
)
POSITION = (
    '{"average_price":7440.18,"delta":0.006687487,"direction":"buy","estimated_liquidation_price":null,"floating_profit_loss":0,'
    '"index_price":7466.79,"initial_margin":0.000197283,"instrument_name":"BTC-PERPETUAL","kind":"future","leverage":35,'
    '"maintenance_margin":0.000143783,"mark_price":7476.65,"realized_funding":-1e-8,"size":50,"size_currency":0.006687487}'
)
INSTRUMENT = (
    '{"price_index":"btc_usd","kind":"future","instrument_name":"BTC-PERPETUAL","max_leverage":50,"maker_commission":0.0,'
    '"taker_commission":0.0005,"instrument_type":"reversed","expiration_timestamp":32503708800000,'
    '"creation_timestamp":1534167754000,"is_active":true,"tick_size":0.5,"contract_size":10.0,"instrument_id":124972,'
    '"min_trade_amount":10.0,"max_liquidation_commission":0.0075,"block_trade_commission":0.00025,'
    '"block_trade_min_trade_amount":200000,"block_trade_tick_size":0.01,"settlement_currency":"BTC",'
    '"settlement_period":"perpetual","base_currency":"BTC","counter_currency":"USD","quote_currency":"USD","tick_size_steps":[]}'
)
OPTION = (
    '{"tick_size":0.0001,"tick_size_steps":[{"above_price":0.005,"tick_size":0.0005}],"taker_commission":0.0003,"strike":16000,'
    '"settlement_period":"week","settlement_currency":"BTC","quote_currency":"BTC","price_index":"btc_usd","option_type":"put",'
    '"min_trade_amount":0.1,"maker_commission":0.0003,"kind":"option","is_active":true,'
    '"instrument_name":"BTC-13JAN23-16000-P","instrument_id":144613,"expiration_timestamp":1673596800000,'
    '"creation_timestamp":1671696002000,"counter_currency":"USD","contract_size":1,"block_trade_tick_size":0.0001,'
    '"block_trade_min_trade_amount":25,"block_trade_commission":0.00015,"base_currency":"BTC","state":"open"}'
)
AUTH = (
    '{"access_token":"1582628593469.1MbQ","expires_in":900,"refresh_token":"1582628593469.1GP4",'
    '"scope":"connection mainaccount account:read_write trade:read_write wallet:read",'
    '"enabled_features":[],"token_type":"bearer"}'
)


def answered(result: str, request_id: int = 3) -> bytes:
    return (
        f'{{"jsonrpc":"2.0","id":{request_id},"result":{result},"usIn":1767978363485278,"usOut":1767978363495053,'
        f'"usDiff":9775,"testnet":false}}'
    ).encode()


def notified(channel: str, data: str) -> bytes:
    return f'{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{channel}","data":{data}}}}}'.encode()


BOOK_SNAPSHOT = notified(
    "book.BTC-PERPETUAL.raw",
    '{"type":"snapshot","timestamp":1699999999000,"instrument_name":"BTC-PERPETUAL","change_id":123456789,'
    '"bids":[["new",42500.0,1000.0],["new",42499.5,500.0]],"asks":[["new",42501.0,800.0],["new",42501.5,600.0]]}',
)
BOOK_CHANGE = notified(
    "book.BTC-PERPETUAL.raw",
    '{"type":"change","timestamp":1699999999100,"prev_change_id":123456789,"instrument_name":"BTC-PERPETUAL",'
    '"change_id":123456790,"bids":[["change",42500.0,1010.0],["delete",42499.5,0.0]],"asks":[["new",42502.0,10.0]]}',
)
QUOTE = notified(
    "quote.BTC-PERPETUAL",
    '{"timestamp":1765541767174,"instrument_name":"BTC-PERPETUAL","best_ask_price":92288.5,"best_bid_price":92288.0,'
    '"best_ask_amount":99470.0,"best_bid_amount":133440.0}',
)
TRADES = notified(
    "trades.BTC-PERPETUAL.raw",
    '[{"timestamp":1765531356452,"price":92294.5,"amount":10.0,"direction":"sell","index_price":92276.75,'
    '"instrument_name":"BTC-PERPETUAL","trade_seq":271252854,"mark_price":92287.11,"tick_direction":2,"contracts":1.0,'
    '"trade_id":"403691824"}]',
)
CHANGES = notified(
    "user.changes.any.any.raw",
    f'{{"instrument_name":"BTC-PERPETUAL","orders":[{STOP}],"trades":[{TRADE}],"positions":[{POSITION}]}}',
)
PORTFOLIO = notified(
    "user.portfolio.any",
    '{"currency":"USDT","balance":55.00055,"equity":55.00055,"available_funds":53.868247,"maintenance_margin":0.0,'
    '"initial_margin":1.100011,"margin_balance":54.968258,"options_gamma_map":{}}',
)
HEARTBEAT = b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"heartbeat"}}'
TEST_REQUEST = b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}'
REFUSAL = b'{"jsonrpc":"2.0","id":8,"error":{"code":10028,"message":"too_many_requests","data":null},"usIn":1,"usOut":2}'

LOG_ROW = (
    '{"username":"TestUser","user_seq":6008,"user_id":7,"type":"settlement","trade_id":null,"total_interest_pl":0.00001243,'
    '"timestamp":1613659544153,"side":"long","session_upl":0.00220172,"session_rpl":-0.00004467,"price":51807.07,'
    '"position":1520,"order_id":null,"interest_pl":0.00000993,"instrument_name":"BTC-PERPETUAL","id":61311,"currency":"BTC",'
    '"commission":null,"change":0.00215706,"cashflow":0.00215706,"balance":3003.72270418,"amount":1520}'
)
DELIVERY_ROW = (
    '{"id":61312,"currency":"BTC","timestamp":1613659544154,"type":"delivery","instrument_name":"BTC-PERPETUAL",'
    '"side":"close sell","amount":1520,"price":51807.07,"change":0.001,"commission":0.0,"trade_id":null}'
)

FRAMES: dict[str, bytes] = {
    "book snapshot": BOOK_SNAPSHOT,
    "book change": BOOK_CHANGE,
    "quote": QUOTE,
    "trades": TRADES,
    "user.changes": CHANGES,
    "user.orders": notified("user.orders.BTC-PERPETUAL.raw", STOP),
    "user.orders aggregated": notified("user.orders.any.any.100ms", f"[{ORDER},{STOP}]"),
    "user.trades": notified("user.trades.any.any.raw", f"[{TRADE}]"),
    "user.portfolio": PORTFOLIO,
    "platform locked": notified("platform_state", '{"price_index":"btc_usd","locked":true}'),
    "platform maintenance": notified("platform_state", '{"maintenance":true}'),
    "instrument.state": notified(
        "instrument.state.future.BTC", '{"timestamp":1553080940000,"state":"created","instrument_name":"BTC-22MAR19"}'
    ),
    "heartbeat": HEARTBEAT,
    "test_request": TEST_REQUEST,
    "refusal": REFUSAL,
    "order": answered(f'{{"order":{ORDER},"trades":[]}}'),
    "stop": answered(f'{{"order":{STOP},"trades":[{TRADE}]}}'),
    "orders": answered(f"[{ORDER},{STOP}]"),
    "trades page": answered(f'{{"trades":[{TRADE}],"has_more":false}}'),
    "transaction log": answered(f'{{"logs":[{DELIVERY_ROW},{LOG_ROW}],"continuation":61310}}'),
    "positions": answered(f"[{POSITION}]"),
    "instrument": answered(INSTRUMENT),
    "instruments": answered(f"[{INSTRUMENT},{OPTION}]"),
    "auth": answered(AUTH),
    "count": answered("4"),
    "ok": answered('"ok"'),
    "channels": answered('["book.BTC-PERPETUAL.raw","platform_state"]'),
}
