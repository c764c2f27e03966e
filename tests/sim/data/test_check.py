"""What `data check` finds: the counts of the recorded data, and each kind of contradiction in small hand-made files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import DataError, InputError
from core.feed import Row
from native.market_data import CLEAR, GAP, LEVEL
from sim.data.check import FORMATS, CheckOptions, run_check
from sim.data.check_binance import Scales, check_binance, guess_scales
from sim.data.check_books import Best, DictLevelBook, DictOrderBook, LevelBook, OrderBook, Resting
from sim.data.check_lobster import check_lobster
from sim.data.check_result import CheckResult
from sim.data.native_check_books import EngineOrderBook, VenueLevelBook
from sim.data.tables import TableSource
from tests.adapters.binance.venue_stream import VenueStream
from tests.data_path import market_data
from tests.sim.data.rows import FILES

MESSAGES = FILES / "DEMO_2024-03-08_34200000_57600000_message_3.csv"
BOOK = FILES / "DEMO_2024-03-08_34200000_57600000_orderbook_3.csv"
AAPL = "lobster/AAPL_2012-06-21_34200000_"


# LOBSTER.


def test_lobster_demo() -> None:
    assert check_lobster(MESSAGES, BOOK) == CheckResult(
        format="lobster",
        files=(str(MESSAGES), str(BOOK)),
        rows=14,
        compared=13,
        mismatches=0,
        first_mismatch=None,
        gaps=0,
        crossed=0,
        notes=(
            "queues: 2 of 2 executions of known orders hit the head of their queue",
            "scales: 2 decimals hold every price, hidden executions included",
        ),
    )


def test_lobster_demo_states(tmp_path: Path) -> None:
    best = tmp_path / "best.csv"
    best.write_text("\n".join(",".join(line.split(",")[:4]) for line in BOOK.read_text().splitlines()) + "\n")
    result = check_lobster(MESSAGES, BOOK, best)
    # Thirteen rows and nine distinct best states; the window was never full, so nothing lies beyond it.
    assert (result.rows, result.compared, result.mismatches, result.crossed) == (14, 13 + 9, 0, 0)
    assert result.notes == (
        "states: 9 distinct best states equal",
        "queues: 2 of 2 executions of known orders hit the head of their queue",
        "scales: 2 decimals hold every price, hidden executions included",
    )
    best.write_text(best.read_text().replace("1000200,40,1000000,70", "1000200,40,1000000,71"))
    result = check_lobster(MESSAGES, BOOK, best)
    assert result.first_mismatch == (
        f"{best}:4: state 4: rebuilt bid 1000000 x 70, ask 1000200 x 40, the file has bid 1000000 x 71, ask 1000200 x 40"
    )


@pytest.mark.parametrize(
    ("old", "new", "mismatches", "first", "crossed"),
    [
        (
            "1000200,40,1000000,70",
            "1000200,40,1000000,75",
            2,
            "4: after message (9, 0, 1000000, 10, 101): bid: expected (1000000, 70), the file has (1000000, 75)",
            0,
        ),
        (
            "1000200,40,1000000,80,1000300",
            "1000200,40,1000200,80,1000300",
            2,
            "3: after message (8, 0, 1000000, 30, 103): bid: expected (1000000, 80), the file has (1000200, 80)",
            1,
        ),
        (
            "1000200,40,999900,10",
            "1000200,39,999900,10",
            2,
            "7: after message (11, 0, 1000000, 30, 103): ask: expected (1000200, 40), the file has (1000200, 39)",
            0,
        ),
    ],
)
def test_lobster_contradictions(old: str, new: str, mismatches: int, first: str, crossed: int, tmp_path: Path) -> None:
    book = tmp_path / "book.csv"
    text = BOOK.read_text()
    assert old in text
    book.write_text(text.replace(old, new, 1))
    result = check_lobster(MESSAGES, book)
    assert (result.mismatches, result.first_mismatch, result.crossed) == (mismatches, f"{book}:{first}", crossed)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("34200.00000025,1,103,", "34200.00000025,1,102,", ":3: order 102 is added while it rests"),
        ("34201,4,101,40,1000000", "34201,4,101,41,1000000", ":5: order 101 has 40 left, the message says 41"),
        (",3,102,40,", ",3,102,39,", ":8: order 102 has 40 left, the message says 39"),
        (
            "34200.5,2,101,10,1000000",
            "34200.5,2,101,10,999900",
            ":4: order 101 rests on side 0 at 1000000, not on side 0 at 999900",
        ),
        (
            "34201,4,101,40,1000000,1",
            "34201,4,101,40,1000000,-1",
            ":5: order 101 rests on side 0 at 1000000, not on side 1 at 1000000",
        ),
    ],
)
@pytest.mark.parametrize("new_book", [DictOrderBook, EngineOrderBook])
def test_lobster_impossible_orders(old: str, new: str, fault: str, new_book: Callable[[], OrderBook], tmp_path: Path) -> None:
    messages = tmp_path / MESSAGES.name
    text = MESSAGES.read_text()
    assert old in text
    messages.write_text(text.replace(old, new, 1))
    book = tmp_path / "book.csv"
    book.write_text("".join(BOOK.read_text().splitlines(keepends=True)[:2]))
    best = tmp_path / "best.csv"
    best.write_text("\n".join(",".join(line.split(",")[:4]) for line in BOOK.read_text().splitlines()) + "\n")
    assert check_lobster(messages, book, new_book=new_book).first_mismatch == f"{messages}{fault}"
    assert not check_lobster(messages, book, best, new_book=new_book).ok


def test_lobster_crossing_orders_on_the_engine(tmp_path: Path) -> None:
    messages = tmp_path / MESSAGES.name
    messages.write_text("34200.1,1,1,5,1000000,1\n34200.2,1,2,5,999900,-1\n")
    book = tmp_path / "book.csv"
    book.write_text("9999999999,0,1000000,5\n999900,5,1000000,5\n")
    assert check_lobster(messages, book).crossed == 1
    with pytest.raises(InputError, match="order 2, 5 at 999900, does not rest in the engine: it crosses the book"):
        check_lobster(messages, book, new_book=EngineOrderBook)


def test_lobster_files_of_different_length(tmp_path: Path) -> None:
    short = tmp_path / "short.csv"
    short.write_text("".join(BOOK.read_text().splitlines(keepends=True)[:5]))
    result = check_lobster(MESSAGES, short)
    assert (result.rows, result.compared, result.notes[0]) == (14, 4, "rows: the order-book file ends after 5 of 14 messages")
    long = tmp_path / "long.csv"
    long.write_text(BOOK.read_text() * 2)
    with pytest.raises(DataError, match=r"long\.csv:15: the order-book file has more rows than the message file"):
        check_lobster(MESSAGES, long)


def test_lobster_book_with_another_number_of_columns(tmp_path: Path) -> None:
    book = tmp_path / "book.csv"
    book.write_text(BOOK.read_text().replace(",1000300,20,999900,10,9999999999,0,-9999999999,0", "", 1))
    with pytest.raises(DataError, match=r"book\.csv:2: expected 12 columns"):
        check_lobster(MESSAGES, book)


@pytest.mark.parametrize(
    ("messages", "book", "rows", "compared", "heads"),
    [
        ("57600000_message_10.first999.csv", "57600000_orderbook_10.first999.csv", 999, 998, "94 of 94"),
        ("37800000_message_50.first672.csv", "37800000_orderbook_50.first672.csv.gz", 672, 671, "56 of 56"),
    ],
)
def test_recorded_lobster_rows(messages: str, book: str, rows: int, compared: int, heads: str) -> None:
    files = (market_data(AAPL + messages), market_data(AAPL + book))
    assert check_lobster(*files) == CheckResult(
        "lobster",
        tuple(map(str, files)),
        rows,
        compared,
        0,
        None,
        0,
        0,
        (
            f"queues: {heads} executions of known orders hit the head of their queue",
            "scales: 2 decimals hold every price, hidden executions included",
        ),
    )


@pytest.mark.parametrize("new_book", [DictOrderBook, EngineOrderBook])
def test_recorded_lobster_states_and_queues(new_book: Callable[[], OrderBook]) -> None:
    names = ("37800000_message_50.csv.gz", "37800000_orderbook_50.first672.csv.gz", "57600000_orderbook_1.csv.gz")
    result = check_lobster(*(market_data(AAPL + name) for name in names), new_book=new_book)
    assert (result.rows, result.compared, result.mismatches, result.crossed) == (91997, 671 + 15999, 0, 0)
    assert result.notes == (
        "rows: the order-book file ends after 672 of 91997 messages",
        "states: 15999 distinct best states equal",
        "states: certain up to the 15774th; after it the best price left the window of 50 levels",
        "queues: 4031 of 4055 executions of known orders hit the head of their queue",
        "scales: 3 decimals hold every price, hidden executions included",
    )


# Binance.

T0 = 1_700_000_000_000_000_000
SPOT = [
    {"e": "depthUpdate", "E": 1, "s": "X", "U": 1, "u": 3, "b": [["9.9", "1"]], "a": []},
    {"u": 4, "s": "X", "b": "10.0", "B": "5", "a": "10.5", "A": "6"},
    {"e": "depthUpdate", "E": 1, "s": "X", "U": 4, "u": 6, "b": [["10.00", "7"]], "a": [["10.4", "0.25"]]},
    {"lastUpdateId": 5, "bids": [["10.0", "5"]], "asks": [["10.5", "6"]]},
    {"u": 6, "s": "X", "b": "10.0", "B": "7", "a": "10.4", "A": "0.25"},
    {"e": "depthUpdate", "E": 1, "s": "X", "U": 7, "u": 9, "b": [], "a": [["10.4", "0"]]},
    {"u": 8, "s": "X", "b": "10.0", "B": "7", "a": "10.5", "A": "6"},
]


def recording(path: Path, frames: list[dict[str, object]]) -> Path:
    path.write_bytes(
        gzip.compress(b"".join(b"%d %s\n" % (T0 + step, json.dumps(frame).encode()) for step, frame in enumerate(frames)))
    )
    return path


class PlainDecoder:
    """Rows of a recording whose snapshot is joined by one diff that waits; what tells it apart is given by `spoil`."""

    def __init__(self, spoil: dict[int, list[Row]]) -> None:
        self._rows: dict[int, list[Row]] = {
            3: [row(CLEAR, 0, 0, 0), row(LEVEL, 0, 100, 700), row(LEVEL, 1, 105, 600), row(LEVEL, 1, 104, 25)],
            5: [row(LEVEL, 1, 104, 0)],
        } | spoil

    def receive(self, ts: int, payload: bytes) -> list[Row]:
        return self._rows.get(ts - T0, [])


def row(kind: int, side: int, price: int, qty: int) -> Row:
    return (0, 0, price, qty, 0, 0, kind, side, 1)


def test_binance_demo(tmp_path: Path) -> None:
    file = recording(tmp_path / "spot.gz", SPOT)
    assert guess_scales([file]) == Scales(1, 2, "X")
    assert check_binance([file], new_decoder=lambda scales: PlainDecoder({})) == CheckResult(
        "binance",
        (str(file),),
        7,
        2,
        0,
        None,
        0,
        0,
        (
            "scales: 1 decimals of price, 2 of quantity",
            "diffs: 2 applied",
            "decoder: its book equals the plain one after 2 packets",
        ),
    )


@pytest.mark.parametrize(
    ("spoil", "first"),
    [
        (
            {5: [row(LEVEL, 1, 104, 1)]},
            ":6: the decoder's book has bid 100 x 700, ask 104 x 1, the plain one bid 100 x 700, ask 105 x 600",
        ),
        ({5: []}, ":6: the decoder's book has bid 100 x 700, ask 104 x 25, the plain one bid 100 x 700, ask 105 x 600"),
        ({1: [row(LEVEL, 1, 104, 1)]}, ":2: the decoder changes the book, the plain reading does not"),
        ({6: [row(GAP, 2, 0, 0)]}, None),
    ],
)
def test_binance_decoder_contradictions(spoil: dict[int, list[Row]], first: str | None, tmp_path: Path) -> None:
    file = recording(tmp_path / "spot.gz", SPOT)
    result = check_binance([file], new_decoder=lambda scales: PlainDecoder(spoil))
    expected = "the decoder reports 1 gaps, the plain reading 0" if first is None else f"{file}{first}"
    assert (result.mismatches, result.first_mismatch) == (1, expected)


def test_binance_mismatch_gap_and_cross(tmp_path: Path) -> None:
    ticker = {"u": 8, "s": "X", "b": "10.0", "B": "7", "a": "10.5", "A": "7"}
    file = recording(tmp_path / "mismatch", [*SPOT[:6], ticker])
    result = check_binance([file])
    assert (result.compared, result.mismatches) == (2, 1)
    assert (
        result.first_mismatch == f"{file}:6: rebuilt bid 100 x 700, ask 105 x 600, bookTicker says bid 100 x 700, ask 105 x 700"
    )
    crossing = {"e": "depthUpdate", "E": 1, "s": "X", "U": 10, "u": 11, "b": [["10.5", "1"]], "a": []}
    hole = {"e": "depthUpdate", "E": 1, "s": "X", "U": 20, "u": 21, "b": [["9.5", "1"]], "a": []}
    result = check_binance([recording(tmp_path / "gap", [*SPOT, crossing, hole])])
    assert (result.gaps, result.crossed, result.ok) == (1, 1, False)


def test_binance_futures_chain(tmp_path: Path) -> None:
    def diff(first: int, last: int, pu: int) -> dict[str, object]:
        return {"e": "depthUpdate", "E": 1, "s": "X", "U": first, "u": last, "pu": pu, "b": [["10.0", str(last)]], "a": []}

    snapshot = {"lastUpdateId": 5, "bids": [["10.0", "5"]], "asks": [["10.5", "6"]]}
    tickers = [{"u": u, "s": "X", "b": "10.0", "B": str(u), "a": "10.5", "A": "6"} for u in (7, 19)]
    frames = [diff(1, 4, 0), snapshot, diff(5, 7, 4), tickers[0], diff(15, 19, 7), tickers[1], diff(21, 22, 20)]
    result = check_binance([recording(tmp_path / "futures", frames)])
    assert (result.compared, result.mismatches, result.gaps) == (2, 0, 1)


@given(seed=st.integers(0, 1 << 32), futures=st.booleans(), at=st.integers(0, 200))
@settings(deadline=None, max_examples=60)
def test_binance_finds_every_wrong_best_price(
    seed: int, futures: bool, at: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A sound stream has no mismatch; with one best price or size of bookTicker changed there is at least one."""
    # So deep that the market cannot drift out of the snapshot, where nothing could be compared.
    venue = VenueStream(seed, futures, depth=90)
    # By the futures rule a snapshot joins only where a diff spans its id, so one diff comes first.
    frames = [venue.diff(), venue.snapshot()]
    venue.tickers.clear()
    ends: dict[int, int] = {}  # the last ticker at or below the end of each diff
    for _ in range(30):
        frames.append(venue.diff())
        frames += venue.tickers
        if venue.tickers:
            ends[venue.update_id] = len(frames) - 1
        venue.tickers.clear()
    path = tmp_path_factory.mktemp("binance") / "frames"

    def result() -> CheckResult:
        path.write_bytes(b"".join(b"%d %s\n" % (T0 + step, frame) for step, frame in enumerate(frames)))
        return check_binance([path])

    sound = result()
    assert (sound.mismatches, sound.gaps, sound.crossed) == (0, 0, 0)
    if not ends:
        return
    place = list(ends.values())[at % len(ends)]
    ticker = json.loads(frames[place])
    ticker["B" if at % 2 else "A"] = str(int(ticker["B" if at % 2 else "A"]) + 1)
    frames[place] = json.dumps(ticker).encode()
    assert result().mismatches >= 1


def test_binance_recording_of_two_symbols(tmp_path: Path) -> None:
    other = {"e": "depthUpdate", "E": 1, "s": "Y", "U": 50, "u": 60, "b": [["1.0", "1"]], "a": []}
    arrays = {"stream": "!ticker@arr", "data": [{"s": "Z"}]}
    file = recording(tmp_path / "both", [SPOT[0], arrays, other, *SPOT[1:]])
    with pytest.raises(DataError, match="both:3: both X and Y are recorded: say which one to check"):
        check_binance([file])
    result = check_binance([file], symbol="X")
    assert (result.rows, result.compared, result.mismatches, result.gaps) == (9, 2, 0, 0)


def test_binance_without_snapshot_says_so(tmp_path: Path) -> None:
    result = check_binance([recording(tmp_path / "diffs", [SPOT[0], SPOT[1]])])
    assert (result.compared, result.notes[0]) == (0, "no snapshot joins the diffs: nothing could be compared")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ('{"e":"depthUpdate","u":7}', "not a Binance frame: KeyError('U')"),
        ('{"e":"depthUpdate","U":6,"u":7,"b":[["x","1"]],"a":[]}', "'x' is not a decimal number"),
        ('{"lastUpdateId":5,"bids":[}', "not a Binance frame: JSONDecodeError("),
        ('{"code":-1121,"msg":"Invalid symbol."}', None),
    ],
)
def test_binance_damage(frame: str, message: str | None, tmp_path: Path) -> None:
    path = tmp_path / "frames"
    path.write_text(f'{T0} {{"e":"x"}}\n{T0} {json.dumps(SPOT[3])}\n{T0} {frame}\n')
    if message is None:
        # What tells nothing of the book is passed over here; the decoder under test is what refuses it.
        assert check_binance([path]).rows == 3
        return
    with pytest.raises(DataError) as caught:
        check_binance([path])
    assert str(caught.value).startswith(f"{path}:3: {message}")


def test_recorded_binance() -> None:
    """The plain reading alone; with the decoder, all recordings: tests/adapters/binance/test_recorded.py."""
    result = check_binance([market_data("crypto_l2/hftbacktest/spot/btcusdt_20240808.gz")])
    assert (result.rows, result.compared, result.mismatches, result.gaps, result.crossed) == (41249, 3449, 0, 0, 0)


# All formats.


def test_tables() -> None:
    result = run_check("bars", [FILES / "bars.csv"], CheckOptions(interval_ns=60_000_000_000))
    assert result == CheckResult(
        "bars",
        (str(FILES / "bars.csv"),),
        3,
        0,
        0,
        None,
        0,
        0,
        (
            "scales: 2 decimals of price, 1 of quantity",
            "2 bars missing in 1 places, first before the bar that ends at 1704067500000000000 ns",
        ),
    )
    assert run_check("trades", [FILES / "trades.csv"]).rows == 3
    quotes = FILES / "quotes.csv"
    result = run_check("quotes", [quotes], CheckOptions(table=TableSource(quotes, 0, zone="UTC"), guess_scales=True))
    assert (result.rows, result.notes) == (2, ("scales: 3 decimals of price, 0 of quantity",))


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("lobstr", 2, "unknown format 'lobstr'; did you mean lobster? Known: lobster, binance, bars, trades, quotes"),
        ("lobster", 1, "lobster takes MESSAGES BOOK [BEST], not 1 file"),
        ("lobster", 4, "lobster takes MESSAGES BOOK [BEST], not 4 files"),
        ("binance", 0, "binance takes FILE…, not 0 files"),
        ("bars", 1, "bars need their interval"),
    ],
)
def test_wrong_calls(name: str, files: int, message: str) -> None:
    with pytest.raises(InputError) as caught:
        run_check(name, [FILES / "bars.csv"] * files)
    assert str(caught.value) == message


def test_run_check_is_the_same_check() -> None:
    assert run_check("lobster", [MESSAGES, BOOK]) == check_lobster(MESSAGES, BOOK)
    assert all(known.files and known.proves for known in FORMATS.values())


# The plain books.


@pytest.mark.parametrize("new_book", [DictLevelBook, VenueLevelBook])
def test_level_book_finds_the_next_best(new_book: Callable[[], LevelBook]) -> None:
    book = new_book()
    for side, price in ((0, 10), (0, 12), (0, 11), (1, 20), (1, 15), (1, 18)):
        book.set_level(side, price, price)
    book.set_level(0, 12, 0)
    book.set_level(1, 15, 0)
    book.set_level(1, 15, 0)
    assert book.best() == Best((11, 11), (18, 18))
    book.clear()
    assert book.best() == Best(None, None)


def test_level_book_lists_levels_best_first() -> None:
    book = DictLevelBook()
    for side, price in ((0, 10), (0, 11), (1, 20), (1, 18)):
        book.set_level(side, price, price)
    assert (book.levels(0), book.levels(1)) == ([(11, 11), (10, 10)], [(18, 18), (20, 20)])


@pytest.mark.parametrize("new_book", [DictOrderBook, EngineOrderBook])
def test_order_book_keeps_queues(new_book: Callable[[], OrderBook]) -> None:
    book = new_book()
    book.add(1, 0, 10, 5)
    book.add(2, 0, 10, 7)
    assert (book.is_head(1), book.is_head(2), book.best()) == (True, False, Best((10, 12), None))
    book.take(1, 5)
    assert (book.resting(1), book.is_head(2), book.best()) == (None, True, Best((10, 7), None))
    book.take(2, 3)
    assert (book.resting(2), book.best()) == (Resting(0, 10, 4), Best((10, 4), None))
