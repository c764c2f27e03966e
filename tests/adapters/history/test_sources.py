"""What each source's documented answers become, and what is no answer; requests through httpx, mocked by respx."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
import respx
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.history import binance_archive
from adapters.history.alpha_vantage import AlphaVantage, read_series
from adapters.history.binance_archive import BinanceArchive, read_archive
from adapters.history.calendar import days, months
from adapters.history.io import HistoryClient, ask_yfinance
from adapters.history.polygon import Polygon
from adapters.history.tables import COLUMNS, Ask, Door, Kind, Row, Source, StatusError, decimal_text, read_json
from adapters.history.theta import Theta, read_page
from adapters.history.yahoo import Yahoo, read_csv
from core.errors import ConfigError, RefusedError, TransportError, VenueProtocolError
from core.units import NS_PER_DAY, NS_PER_MINUTE, NS_PER_MS, NS_PER_SECOND

KEY = "a-secret-key"


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NS_PER_SECOND


def ask(symbol: str, start: str, end: str, kind: Kind = Kind.BARS, **more: Any) -> Ask:
    interval = NS_PER_MINUTE if kind is Kind.BARS else 0
    return Ask(**({"kind": kind, "symbol": symbol, "start": at(start), "end": at(end), "interval_ns": interval} | more))


async def fetch(source: Source, origin: str, what: Ask, secrets: dict[str, str] | None = None) -> list[Row]:
    rows: list[Row] = []
    with TemporaryDirectory() as folder:
        client = HistoryClient(secrets=secrets or {}, origin=origin, requests_per_minute=0, folder=Path(folder))
        door = Door(client.get, client.download)
        try:
            for unit in source.units(what):
                async for chunk in source.fetch(door, what, unit):
                    assert tuple(chunk.columns) == COLUMNS[what.kind]
                    rows += chunk.rows()
        finally:
            await client.aclose()
        assert not list(Path(folder).iterdir()), "what was downloaded lies about"
    return rows


def read_all(kind: Kind, body: bytes) -> list[Row]:
    return [row for chunk in read_archive(kind, "x.zip", io.BytesIO(body)) for row in chunk.rows()]


def zipped(text: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("file.csv", text)
    return out.getvalue()


SPOT_2025 = "1735689600000000,93576.00000000,93610.93000000,93537.50000000,93610.93000000,8.21827000,1735689659999999,1,1,1,1,0\n"
BAR_2024 = (1704067200000 * NS_PER_MS, "42283.58000000", "42298.62000000", "42261.02000000", "42298.61000000", "35.92724000")
SPOT_2024 = "1704067200000,42283.58000000,42298.62000000,42261.02000000,42298.61000000,35.92724000,1704067259999,1,1,1,1,0\n"


@pytest.mark.anyio
@respx.mock
async def test_binance_takes_whole_months_and_the_days_of_the_running_one_and_holds_them_to_their_hash() -> None:
    origin = "https://data.binance.vision/data/spot"
    body = zipped(SPOT_2025)
    for name, content in (
        ("monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01.zip", body),
        ("daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-02-01.zip", body),
    ):
        respx.get(f"{origin}/{name}").mock(return_value=httpx.Response(200, content=content))
        respx.get(f"{origin}/{name}.CHECKSUM").mock(
            return_value=httpx.Response(200, text=f"{hashlib.sha256(content).hexdigest()}  {name.rpartition('/')[2]}\n")
        )
    respx.get(f"{origin}/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-02-02.zip").mock(return_value=httpx.Response(404))
    source = BinanceArchive(now=lambda: at("2025-02-02T12:00:00"))
    what = ask("BTCUSDT", "2025-01-05", "2025-02-03")
    assert [unit.name for unit in source.units(what)] == ["2025-01", "2025-02-01", "2025-02-02"]
    row = (at("2025-01-01"), "93576.00000000", "93610.93000000", "93537.50000000", "93610.93000000", "8.21827000")
    assert await fetch(source, "https://data.binance.vision", what) == [row, row]


@pytest.mark.anyio
@respx.mock
async def test_a_file_of_binance_with_another_hash_is_refused() -> None:
    respx.get(url__regex=r".*\.zip$").mock(return_value=httpx.Response(200, content=zipped(SPOT_2024)))
    respx.get(url__regex=r".*CHECKSUM$").mock(return_value=httpx.Response(200, text=f"{'0' * 64}  x.zip"))
    with pytest.raises(VenueProtocolError, match="SHA-256"):
        await fetch(BinanceArchive(), "https://data.binance.vision", ask("BTCUSDT", "2024-01-01", "2024-02-01"))


@pytest.mark.parametrize(
    ("kind", "text", "row"),
    [
        (Kind.BARS, SPOT_2024, BAR_2024),
        (
            Kind.TRADES,
            "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n5,42313.9,0.019,7,8,1704067200043,true\n",
            (1704067200043 * NS_PER_MS, "42313.9", "0.019", "sell", "5"),
        ),
        (
            Kind.QUOTES,
            "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time\n"
            "3,42313.8,1.5,42313.9,20.1,1704067200001,1704067200003\n",
            (1704067200001 * NS_PER_MS, "42313.8", "1.5", "42313.9", "20.1"),
        ),
    ],
)  # fmt: skip
def test_the_archives_files(kind: Kind, text: str, row: Row) -> None:
    assert read_all(kind, zipped(text)) == [row]


NUMBERS = st.sampled_from(
    ["1", "0.10", "-3.5", "007", "1e-7", "", "x", "1.", ".5", "NaN", "1" * 20, "0." + "0" * 31 + "1", "1_0", '"1"']
)
STAMPS = st.sampled_from(["1704067200000", "1735689600000000", "5", "", "-1", "1e3", "1" * 17])
WORDS = st.sampled_from(["true", "False", "TRUE", "yes", ""])


@st.composite
def lines_of(draw: st.DrawFn, kind: Kind) -> str:
    """Mostly plain lines, as the archive writes them, and some that are anything but."""
    is_odd = draw(st.integers(0, 3)) == 0
    numbers = NUMBERS if is_odd else st.sampled_from(["1", "0.10", "42283.58000000", "0"])
    stamp = draw(STAMPS if is_odd else st.sampled_from(["1704067200000", "1735689600000000", "5"]))
    values = [draw(numbers) for _ in range(5)]
    match kind:
        case Kind.BARS:
            fields = [stamp, *values, "9", "9"]
        case Kind.TRADES:
            fields = [draw(st.sampled_from(["1", "", "x1"])), *values[:4], stamp, draw(WORDS if is_odd else st.just("true"))]
        case Kind.QUOTES:
            fields = ["1", *values[:4], stamp, "5"]
    cut = draw(st.sampled_from([0, 0, 0, 0, 0, 1])) if is_odd else 0
    return ",".join(fields[: len(fields) - cut])


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(list(Kind)), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.integers(40, 400))
def test_columns_say_what_lines_say(data: st.DataObject, kind: Kind, ending: str, has_end: bool, block_bytes: int) -> None:
    """The archive is read column by column, in blocks; the same rows, or a refusal, come line by line."""
    lines = [data.draw(lines_of(kind)) for _ in range(data.draw(st.integers(1, 12)))]
    text = ending.join(lines) + (ending if has_end else "")

    def read(is_by_line: bool) -> list[Row] | None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(binance_archive, "BLOCK_BYTES", 1 << 20 if is_by_line else block_bytes)
            if is_by_line:
                patch.setattr(binance_archive, "_read_columns", lambda _kind, _block: None)
            try:
                return read_all(kind, zipped(text))
            except VenueProtocolError:
                return None

    assert read(is_by_line=False) == read(is_by_line=True)


def test_a_plain_file_is_read_by_columns_and_a_fault_has_its_line() -> None:
    plain = SPOT_2024 * 3
    assert binance_archive._read_columns(Kind.BARS, plain.encode()) is not None
    for number, fault in enumerate(("x,1,1,1,1,1\n", "1704067200000,1,1,1,1\n", "1704067200000,1,1,y,1,1\n"), start=4):
        with pytest.raises(VenueProtocolError, match=rf"x\.zip:{number}: "):
            read_all(Kind.BARS, zipped(plain + SPOT_2024 * (number - 4) + fault))


MUTATIONS = 3_000


def test_damaged_archives_are_refused_or_read() -> None:
    """Bytes of a real zip, turned: what is not read is a VenueProtocolError and nothing else."""
    whole = zipped(SPOT_2024 * 40)
    random = Random(7)
    for number in range(MUTATIONS):
        body = bytearray(whole)
        for _ in range(random.randint(1, 3)):
            body[random.randrange(len(body))] = random.randrange(256)
        try:
            read_all(Kind.BARS, bytes(body[: random.choice((len(body), len(body), random.randrange(len(body)))) or None]))
        except VenueProtocolError:
            continue
        except BaseException as error:
            raise AssertionError(f"mutation {number} of Random(7): {bytes(body).hex()}") from error


@pytest.mark.anyio
@respx.mock
async def test_only_a_file_that_is_not_there_is_no_data() -> None:
    what = ask("BTCUSDT", "2024-01-01", "2024-01-02", Kind.TRADES)
    zips = respx.get(url__regex=r".*\.zip$").mock(return_value=httpx.Response(404))
    assert await fetch(BinanceArchive(), "https://data.binance.vision", what) == []
    zips.mock(return_value=httpx.Response(403, text="not from your country"))
    with pytest.raises(StatusError, match="403: not from your country"):
        await fetch(BinanceArchive(), "https://data.binance.vision", what)
    zips.mock(return_value=httpx.Response(200, content=zipped(SPOT_2024)))
    respx.get(url__regex=r".*CHECKSUM$").mock(return_value=httpx.Response(404))
    with pytest.raises(VenueProtocolError, match="SHA-256 is not"):
        await fetch(BinanceArchive(), "https://data.binance.vision", what)


class Cut(httpx.AsyncByteStream):
    """Some bytes, and then the connection is gone."""

    def __init__(self, body: bytes, *, is_cut: bool) -> None:
        self._body, self._is_cut = body, is_cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body
        if self._is_cut:
            raise httpx.ReadError("gone")


@pytest.mark.anyio
async def test_a_download_goes_on_where_it_was_cut_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("adapters.history.io.anyio.sleep", AsyncMock())
    whole = bytes(range(256)) * 40
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("range"))
        since = int((asked[-1] or "bytes=0-")[len("bytes=") : -1])
        match len(asked):
            case 1:
                return httpx.Response(200, stream=Cut(whole[:1_000], is_cut=True))
            case 2:  # another part than the one that was asked for
                return httpx.Response(206, headers={"content-range": "bytes 5-9/10240"}, stream=Cut(b"xxxxx", is_cut=False))
            case 3:
                return httpx.Response(200, stream=Cut(whole[:3_000], is_cut=True))
            case _:
                headers = {"content-range": f"bytes {since}-{len(whole) - 1}/{len(whole)}"}
                return httpx.Response(206, headers=headers, stream=Cut(whole[since:], is_cut=False))

    sizes: list[int] = []
    client = HistoryClient(
        secrets={},
        origin="https://x.example",
        requests_per_minute=0,
        folder=tmp_path,
        arrived=sizes.append,
        transport=httpx.MockTransport(answer),
    )
    async with client.download("https://x.example/a/b.zip") as path:
        assert path.read_bytes() == whole
    assert asked == [None, "bytes=1000-", None, "bytes=3000-"]
    assert sizes == [1_000, 3_000, len(whole)]
    assert not list(tmp_path.iterdir())
    # Left by a process that was killed when all had come: its end is where the file ends.
    (tmp_path / "b.zip.download").write_bytes(whole)

    def end(request: httpx.Request) -> httpx.Response:
        return httpx.Response(416) if "range" in request.headers else httpx.Response(200, stream=Cut(whole, is_cut=False))

    transport = httpx.MockTransport(end)
    again = HistoryClient(secrets={}, origin="https://x.example", requests_per_minute=0, folder=tmp_path, transport=transport)
    async with again.download("https://x.example/a/b.zip") as path:
        assert path.read_bytes() == whole
    await client.aclose()
    await again.aclose()


@given(st.binary(max_size=400), st.sampled_from(list(Kind)), st.booleans())
def test_what_is_none_of_its_files_is_refused(data: bytes, kind: Kind, is_zipped: bool) -> None:
    body = zipped(data.decode("latin-1")) if is_zipped else data
    try:
        rows = read_all(kind, body)
    except VenueProtocolError:
        return
    assert all(isinstance(row[0], int) for row in rows)


@pytest.mark.anyio
@respx.mock
async def test_polygon_goes_from_page_to_page_and_gives_its_key_to_nobody_else() -> None:
    bar = {"v": 70790813, "vw": 131.6292, "o": 130.465, "c": 130.15, "h": 133.41, "l": 129.89, "t": 1577941200000, "n": 1}
    first = {"status": "OK", "results": [bar], "next_url": "https://evil.example/v2/aggs/page?cursor=abc"}
    second = {"status": "OK", "results": [{"v": 1e3, "o": 1, "c": 1, "h": 1.5, "l": 0.5, "t": 1577941260000}]}
    route = respx.get(url__startswith="https://api.polygon.io/v2/aggs/").mock(
        side_effect=[httpx.Response(200, json=first), httpx.Response(200, json=second)]
    )
    rows = await fetch(Polygon(), "https://api.polygon.io", ask("AAPL", "2020-01-01", "2020-02-01"), {"apiKey": KEY})
    assert rows == [
        (1577941200000 * NS_PER_MS, "130.465", "133.41", "129.89", "130.15", "70790813"),
        (1577941260000 * NS_PER_MS, "1", "1.5", "0.5", "1", "1000.0"),
    ]
    assert [call.request.url.host for call in route.calls] == ["api.polygon.io"] * 2
    assert [call.request.url.params["apiKey"] for call in route.calls] == [KEY] * 2
    assert route.calls[1].request.url.params["cursor"] == "abc"


@pytest.mark.anyio
@respx.mock
async def test_polygons_prints_and_quotes() -> None:
    trade = {
        "price": 171.55,
        "size": 1,
        "sip_timestamp": 1517562000016036600,
        "participant_timestamp": 1517562000015577000,
        "id": "1",
    }
    quote = {"bid_price": 102.7, "bid_size": 60, "ask_price": 0.0001, "sip_timestamp": 1517562000065700260}
    respx.get(url__startswith="https://api.polygon.io/v3/trades/AAPL").mock(
        return_value=httpx.Response(200, json={"status": "OK", "results": [trade]})
    )
    respx.get(url__startswith="https://api.polygon.io/v3/quotes/AAPL").mock(
        return_value=httpx.Response(200, json={"status": "OK", "results": [quote]})
    )
    trades = ask("AAPL", "2018-02-02", "2018-02-03", Kind.TRADES)
    assert await fetch(Polygon(), "https://api.polygon.io", trades) == [(1517562000015577000, "171.55", "1", "none", "1")]
    quotes = ask("AAPL", "2018-02-02", "2018-02-03", Kind.QUOTES)
    assert await fetch(Polygon(), "https://api.polygon.io", quotes) == [(1517562000065700260, "102.7", "60", "0.0001", "0")]


SERIES = {
    "Meta Data": {"1. Information": "Intraday", "6. Time Zone": "US/Eastern"},
    "Time Series (1min)": {
        "2024-07-01 09:31:00": {
            "1. open": "172.1",
            "2. high": "172.3",
            "3. low": "172.0",
            "4. close": "172.2",
            "5. volume": "900",
        },
        "2024-01-02 09:30:00": {
            "1. open": "162.83",
            "2. high": "163.29",
            "3. low": "162.46",
            "4. close": "162.9",
            "5. volume": "12",
        },
    },
}


def test_alpha_vantages_times_are_those_of_new_york() -> None:
    assert read_series(SERIES) == [
        (at("2024-01-02T14:30:00"), "162.83", "163.29", "162.46", "162.9", "12"),
        (at("2024-07-01T13:31:00"), "172.1", "172.3", "172.0", "172.2", "900"),
    ]


@pytest.mark.parametrize("name", ["Note", "Information", "Error Message"])
def test_what_alpha_vantage_says_instead_of_data_is_a_refusal(name: str) -> None:
    with pytest.raises(RefusedError, match="25 requests per day"):
        read_series({name: "our standard API rate limit is 25 requests per day"})


@pytest.mark.parametrize("answer", [[], {}, {"Time Series (1min)": {}}, {**SERIES, "Time Series (5min)": {}}])
def test_what_is_no_series_is_refused(answer: Any) -> None:
    with pytest.raises(VenueProtocolError):
        read_series(answer)


@pytest.mark.anyio
@respx.mock
async def test_theta_reads_pages_of_options_and_days_without_data() -> None:
    header = {
        "format": ["ms_of_day", "open", "high", "low", "close", "volume", "count", "date"],
        "next_page": None,
        "error_type": "null",
    }
    first = {
        "header": {**header, "next_page": "http://127.0.0.1:25510/v2/page/1"},
        "response": [[34200000, 1.5, 1.75, 1.25, 1.5, 10, 2, 20240116]],
    }
    second = {
        "header": header,
        "response": [[34260000, 0, 0, 0, 0, 0, 0, 20240116], [34320000, 1.5, 1.5, 1.5, 1.5, 1, 1, 20240116]],
    }
    route = respx.get(url__startswith="http://127.0.0.1:25510/v2/hist/option/ohlc").mock(
        side_effect=[httpx.Response(472), httpx.Response(200, json=first)]
    )
    respx.get("http://127.0.0.1:25510/v2/page/1").mock(return_value=httpx.Response(200, json=second))
    rows = await fetch(Theta(), "http://127.0.0.1:25510", ask("AAPL240119C00190000", "2024-01-15", "2024-01-17"))
    assert rows == [
        (at("2024-01-16T14:30:00"), "1.5", "1.75", "1.25", "1.5", "10"),
        (at("2024-01-16T14:32:00"), "1.5", "1.5", "1.5", "1.5", "1"),
    ]
    wanted = {"root": "AAPL", "exp": "20240119", "right": "C", "strike": "190000", "start_date": "20240116", "ivl": "60000"}
    assert wanted.items() <= dict(route.calls[1].request.url.params).items()


@pytest.mark.parametrize("answer", [{}, {"header": {"format": ["date"]}}, {"header": {"format": []}, "response": [[1]]}])
def test_what_is_no_page_of_theta_is_refused(answer: Any) -> None:
    with pytest.raises(VenueProtocolError):
        read_page(Kind.BARS, answer)


YAHOO = b""",Open,High,Low,Close,Adj Close,Volume
2024-01-02 09:30:00-05:00,187.14999389648438,188.44,183.89,185.63999,1.0,82488700
2024-01-02 09:31:00-05:00,,1.0,1.0,1.0,1.0,1
"""


def test_yahoos_floats_are_rounded_and_holes_left_out() -> None:
    assert read_csv(YAHOO, 2) == [(at("2024-01-02T14:30:00"), "187.15", "188.44", "183.89", "185.64", "82488700")]
    for body in (YAHOO.replace(b"-05:00", b""), YAHOO.replace(b"High", b"Low"), b"", YAHOO.replace(b"188.44", b"inf")):
        with pytest.raises(VenueProtocolError):
            read_csv(body, 2)


def no_download(url: str) -> AbstractAsyncContextManager[Path]:
    raise AssertionError(f"yfinance has no files: {url}")


@pytest.mark.anyio
async def test_yahoos_table_comes_as_csv_and_an_empty_one_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas, yfinance = pytest.importorskip("pandas"), pytest.importorskip("yfinance")
    index = pandas.DatetimeIndex(["2024-01-02 09:30"], tz="America/New_York", name="Datetime")
    frame = pandas.DataFrame({"Open": [1.5], "High": [1.5], "Low": [1.5], "Close": [1.5], "Volume": [3]}, index=index)
    monkeypatch.setattr(yfinance.Ticker, "history", lambda _self, **_options: frame)
    what = ask("AAPL", "2024-01-02", "2024-01-03")
    (unit,) = Yahoo().units(what)
    door = Door(ask_yfinance, no_download)
    (chunk,) = [chunk async for chunk in Yahoo().fetch(door, what, unit)]
    assert chunk.rows() == [(at("2024-01-02T14:30:00"), "1.50", "1.50", "1.50", "1.50", "3")]
    monkeypatch.setattr(yfinance.Ticker, "history", lambda _self, **_options: frame.iloc[:0])
    with pytest.raises(TransportError, match="nothing came"):
        _ = [chunk async for chunk in Yahoo().fetch(door, what, unit)]


@pytest.mark.anyio
@respx.mock
async def test_a_source_that_is_busy_is_asked_again_and_its_key_is_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("adapters.history.io.anyio.sleep", sleep)
    busy = [
        httpx.Response(429, headers={"retry-after": "7"}),
        httpx.Response(503),
        httpx.ConnectError(f"no route to ?apiKey={KEY}"),
    ]
    respx.get(url__startswith="https://x.example/").mock(side_effect=[*busy, httpx.Response(200, content=b"[]")])
    client = HistoryClient(secrets={"apiKey": KEY}, origin="https://x.example", requests_per_minute=0, folder=Path("/nowhere"))
    assert await client.get("https://x.example/a", {}) == b"[]"
    assert [wait for wait in waited if wait] == [7.0, 4.0, 8.0]
    respx.get(url__startswith="https://x.example/").mock(side_effect=httpx.ConnectError(f"no route to ?apiKey={KEY}"))
    with pytest.raises(TransportError) as lost:
        await client.get("https://x.example/a", {})
    respx.get(url__startswith="https://x.example/").mock(return_value=httpx.Response(403, text=f"bad key {KEY}"))
    with pytest.raises(RefusedError) as refused:
        await client.get("https://x.example/a", {})
    assert KEY not in f"{lost.value}{refused.value}"
    await client.aclose()


@pytest.mark.parametrize("text", ["NaN", "1e400", "abc", None, "", "1e31", []])
def test_what_is_no_number_is_refused(text: Any) -> None:
    with pytest.raises(VenueProtocolError):
        decimal_text(text, "price")


def test_numbers_keep_their_digits() -> None:
    assert [decimal_text(text, "x") for text in ("1e-7", "0.10", "-5", "1E3")] == ["0.0000001", "0.10", "-5", "1000"]
    assert read_json(b'{"a": 9007199254740993, "b": 0.1}') == {"a": "9007199254740993", "b": "0.1"}
    for body in (b"{", b'{"a": NaN}', b"\xff", b"[" * 100_000):
        with pytest.raises(VenueProtocolError):
            read_json(body)


@given(st.integers(0, 40_000), st.integers(1, 400))
def test_units_cover_the_time_once_and_in_order(first: int, count: int) -> None:
    start, end = first * NS_PER_DAY + 5, (first + count) * NS_PER_DAY - 5
    for units in (months(start, end), days(start, end), days(start, end, 7)):
        assert units[0].start <= start < units[0].end
        assert units[-1].start < end <= units[-1].end
        assert all(before.end == after.start for before, after in pairwise(units))
        assert [unit.name for unit in units] == sorted(unit.name for unit in units)


def test_bars_that_a_source_does_not_have_are_refused() -> None:
    for source in (BinanceArchive(), Polygon(), AlphaVantage(), Theta()):
        with pytest.raises(ConfigError, match="has bars of"):
            source.units(ask("X", "2024-01-01", "2024-01-02", interval_ns=1_500))
