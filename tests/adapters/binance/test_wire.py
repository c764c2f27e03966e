"""Frames to typed messages: each kind, each refusal with its reason, and the traps of JSON one by one."""

from __future__ import annotations

import json
import re
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.binance import wire
from adapters.binance.wire import AggregateTrade, BookTicker, DepthUpdate, Skipped, Snapshot, Trade, decode
from core.errors import RefusedError, VenueProtocolError
from tests.data_path import market_data

SPOT_DEPTH = (
    b'{"e":"depthUpdate","E":1700000000123,"s":"BTCUSDT","U":5,"u":7,"b":[["10.50","2"]],"a":[["10.60","0"],["10.70","1.5"]]}'
)
FUTURES_DEPTH = (
    b'{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":1700000000123,"T":1700000000120,"s":"BTCUSDT",'
    b'"U":5,"u":7,"pu":4,"b":[["10.50","2"]],"a":[]}}'
)
SPOT_TICKER = b'{"stream":"btcusdt@bookTicker","data":{"u":9,"s":"BTCUSDT","b":"10.5","B":"2","a":"10.6","A":"3"}}'
COIN_TICKER = (
    b'{"stream":"btcusd_perp@bookTicker","data":{"u":9,"e":"bookTicker","s":"BTCUSD_PERP","ps":"BTCUSD","b":"10.5","B":"2",'
    b'"a":"10.6","A":"3","T":1700000000120,"E":1700000000123}}'
)
SPOT_TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1700000000123,"s":"BTCUSDT","t":77,"p":"10.5","q":"1","T":1700000000120,'
    b'"m":true,"M":true}}'
)
AGGREGATE_TRADE = (
    b'{"e":"aggTrade","E":1700000000123,"s":"BTCUSDT","a":7,"p":"10.5","q":"1","f":70,"l":71,"T":1700000000120,"m":false}'
)
SNAPSHOT = b'{"lastUpdateId":5,"bids":[["10.50","2"]],"asks":[["10.60","3"]]}'
COIN_SNAPSHOT = (
    b'{"lastUpdateId":5,"E":1700000000123,"T":1700000000120,"symbol":"BTCUSD_PERP","pair":"BTCUSD",'
    b'"bids":[["10.50","2"]],"asks":[]}'
)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (
            SPOT_DEPTH,
            DepthUpdate(
                e="depthUpdate", E=1700000000123, s="BTCUSDT", U=5, u=7, b=[("10.50", "2")], a=[("10.60", "0"), ("10.70", "1.5")]
            ),
        ),
        (
            FUTURES_DEPTH,
            DepthUpdate(e="depthUpdate", E=1700000000123, T=1700000000120, s="BTCUSDT", U=5, u=7, pu=4, b=[("10.50", "2")], a=[]),
        ),
        (SPOT_TICKER, BookTicker(u=9, s="BTCUSDT", b="10.5", B="2", a="10.6", A="3")),
        (json.dumps(json.loads(SPOT_TICKER)["data"]).encode(), BookTicker(u=9, s="BTCUSDT", b="10.5", B="2", a="10.6", A="3")),
        (
            COIN_TICKER,
            BookTicker(
                e="bookTicker",
                u=9,
                s="BTCUSD_PERP",
                ps="BTCUSD",
                b="10.5",
                B="2",
                a="10.6",
                A="3",
                T=1700000000120,
                E=1700000000123,
            ),
        ),
        (
            SPOT_TRADE,
            Trade(e="trade", E=1700000000123, s="BTCUSDT", t=77, p="10.5", q="1", T=1700000000120, m=True, M=True),
        ),
        (
            AGGREGATE_TRADE,
            AggregateTrade(
                e="aggTrade",
                E=1700000000123,
                s="BTCUSDT",
                a=7,
                p="10.5",
                q="1",
                first_trade_id=70,
                last_trade_id=71,
                T=1700000000120,
                m=False,
            ),
        ),
        (SNAPSHOT, Snapshot(last_update_id=5, bids=[("10.50", "2")], asks=[("10.60", "3")])),
        (
            COIN_SNAPSHOT,
            Snapshot(
                last_update_id=5,
                E=1700000000123,
                T=1700000000120,
                symbol="BTCUSD_PERP",
                pair="BTCUSD",
                bids=[("10.50", "2")],
                asks=[],
            ),
        ),
    ],
)
def test_messages(payload: bytes, message: wire.Message) -> None:
    assert decode(payload) == message


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"stream":"btcusdt@kline_1m","data":{"e":"kline"}}', "stream kline_1m"),
        (b'{"stream":"btcusdt@depth20@100ms","data":{"lastUpdateId":5,"bids":[],"asks":[]}}', "stream depth20"),
        (b'{"stream":"btcusdt@markPrice@1s","data":{"e":"markPriceUpdate"}}', "stream markPrice"),
        (b'{"stream":"!ticker@arr","data":[]}', "stream !ticker"),
        (b'{"stream":"!contractInfo","data":{}}', "stream !contractInfo"),
        (b'{"e":"forceOrder","E":1,"o":{"s":"BTCUSDT"}}', "event forceOrder"),
        (b'{"e":"serverShutdown","E":1}', "event serverShutdown"),
        (b'{"result":null,"id":1}', "subscription reply"),
        (b'{"result":["btcusdt@trade"],"id":3}', "subscription reply"),
    ],
)
def test_other_frames_are_skipped_by_name(payload: bytes, reason: str) -> None:
    assert decode(payload) == Skipped(reason)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (SNAPSHOT[:-1], "Input data was truncated"),
        (b"", "Input data was truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"result":{"lastUpdateId":5},"id":1}', "neither a stream, an event, a snapshot nor a reply"),
        (b"{}", "neither a stream, an event, a snapshot nor a reply"),
        (b'{"stream":"btcusdt@nonsense","data":{}}', "unknown stream 'btcusdt@nonsense'"),
        (b'{"e":"nonsense","E":1}', "unknown event 'nonsense'"),
        (SPOT_TICKER.replace(b"bookTicker", b"trade"), "Object missing required field `e`"),
        (FUTURES_DEPTH.replace(b"@depth@0ms", b"@trade"), "Object missing required field"),
        (FUTURES_DEPTH.replace(b'"e":"depthUpdate"', b'"e":"other"'), "expected event depthUpdate, found 'other'"),
        (SPOT_DEPTH.replace(b'"2"', b"2"), "Expected `str`, got `int` - at `$.b[0][1]`"),
        (SPOT_DEPTH.replace(b'"2"', b"NaN"), "JSON is malformed: invalid character"),
        (SPOT_DEPTH.replace(b'"2"', b"Infinity"), "JSON is malformed: invalid character"),
        (SPOT_DEPTH.replace(b'"2"', b"1e999"), "Number out of range - at `$.b[0][1]`"),
        (SPOT_DEPTH.replace(b'["10.50","2"]', b'["10.50"]'), "Expected `array` of length 2"),
        (SPOT_DEPTH.replace(b'"U":5', b'"U":5e0'), "Expected `int`, got `float` - at `$.U`"),
        (SPOT_DEPTH.replace(b'"U":5', b'"U":5.0'), "Expected `int`, got `float` - at `$.U`"),
        (SPOT_DEPTH.replace(b'"U":5', b'"U":-5'), "Expected `int` >= 0 - at `$.U`"),
        (SPOT_DEPTH.replace(b'"U":5', b'"U":9223372036854775808'), "Expected `int` <= 9223372036854775807 - at `$.U`"),
        (SPOT_DEPTH.replace(b'"U":5', b'"U":1' + b"0" * 400), "- at `$.U`"),
        (SPOT_DEPTH.replace(b'"U":5', b'"U":5,"U":6'), "duplicate keys"),
        (SPOT_DEPTH.replace(b'"U":5', b'"U":5,"\\u0055":6'), "duplicate keys"),
        (SPOT_DEPTH.replace(b'"U":5', b'"U" :5,"U":5'), "duplicate keys"),
        (SPOT_DEPTH.replace(b'"U":5', b'"U":5,"new":NaN'), "JSON is malformed"),
        (SPOT_TICKER.replace(b'"b":"10.5"', b'"b":"10.5","b":"10.4"'), "duplicate keys"),
        (b'{"stream":"btcusdt@kline_1m","data":{},"data":{}}', "duplicate keys"),
        (b'{"lastUpdateId":5,"lastUpdateId":6,"bids":[],"asks":[]}', "duplicate keys"),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "maximum recursion depth exceeded"),
        (SPOT_DEPTH.replace(b'"10.50"', b'"' + b"1" * 65 + b'"'), "Expected `str` of length <= 64"),
    ],
)
def test_refused_with_the_reason(payload: bytes, message: str) -> None:
    with pytest.raises(VenueProtocolError) as caught:
        decode(payload)
    assert message in str(caught.value)


def test_oversized_frame_is_not_even_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "PAYLOAD_BYTES_MAX", 10)
    with pytest.raises(VenueProtocolError, match="a frame of 64 bytes is above the limit of 10"):
        decode(SNAPSHOT)


@pytest.mark.parametrize(
    "payload",
    [b'{"code":-1121,"msg":"Invalid symbol."}', b'{"error":{"code":2,"msg":"Invalid request"},"id":1}'],
)
def test_the_venue_says_no(payload: bytes) -> None:
    with pytest.raises(RefusedError, match="Binance refused: "):
        decode(payload)


@pytest.mark.parametrize(
    "payload",
    [
        SPOT_DEPTH.replace(b'"U":5', b'"U":5,"pt":1'),  # a field the venue added
        SPOT_DEPTH.replace(b'"U":5', b'"U" : 5'),
        SPOT_DEPTH.replace(b'"U":5', b'"\\u0055":5'),
        SPOT_DEPTH + b"\n",
    ],
)
def test_unusual_but_sound_json_means_the_same(payload: bytes) -> None:
    assert decode(payload) == decode(SPOT_DEPTH)


@given(
    st.sampled_from([SPOT_DEPTH, FUTURES_DEPTH, SPOT_TICKER, COIN_TICKER, SPOT_TRADE, AGGREGATE_TRADE, COIN_SNAPSHOT]), st.data()
)
def test_damaged_bytes_never_raise_anything_else(payload: bytes, data: st.DataObject) -> None:
    damaged = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    for candidate in (bytes(damaged), bytes(damaged[:cut])):
        try:
            decode(candidate)
        except (VenueProtocolError, RefusedError):
            continue


@given(st.sampled_from([SPOT_DEPTH, FUTURES_DEPTH, COIN_TICKER, SPOT_TRADE, AGGREGATE_TRADE, COIN_SNAPSHOT]), st.data())
def test_any_repeated_key_is_refused(payload: bytes, data: st.DataObject) -> None:
    keys = list(re.finditer(rb'"[A-Za-z]+":(?=["0-9\[tf])', payload))
    key = data.draw(st.sampled_from(keys))
    repeated = payload[: key.start()] + key.group() + b"1," + payload[key.start() :]
    with pytest.raises(VenueProtocolError):
        decode(repeated)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("futures/market_data_json/agg_trade_stream.json", AggregateTrade),
        ("futures/market_data_json/book_ticker_stream.json", BookTicker),
        ("futures/market_data_json/depth_update_stream.json", DepthUpdate),
        ("futures/market_data_json/trade_stream.json", Trade),
        ("futures/market_data_json/kline_stream_open.json", Skipped),
        ("futures/market_data_json/liquidation_stream.json", Skipped),
        ("futures/market_data_json/mark_price_stream.json", Skipped),
        ("futures/market_data_json/ticker_stream.json", Skipped),
        ("spot/http_json/depth_response.json", Snapshot),
    ],
)
def test_published_samples(name: str, kind: type[wire.Message]) -> None:
    with tarfile.open(market_data("wire/nautilus_adapters_A.tar.gz")) as archive:
        body = archive.extractfile("crates/adapters/binance/test_data/" + name)
        assert body is not None
        assert type(decode(body.read())) is kind


@pytest.mark.parametrize("payload", [FUTURES_DEPTH, b'{"stream":"btcusdt@depth","data":' + SPOT_DEPTH + b"}"])
def test_a_usual_depth_update_is_read_in_one_pass(payload: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    by_the_long_way = wire._decode(payload, wire._RAW_DECODERS, wire._RAW_SNAPSHOT_DECODER)
    monkeypatch.setattr(wire, "_decode", None)
    assert wire.decode_raw(payload) == by_the_long_way
