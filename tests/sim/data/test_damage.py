"""Any damage to any file: it is read, or refused with a DataError that names the file; nothing else ever comes out."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.binance.book_sync import BinanceBookSession
from core.enums import InstrumentClass
from core.errors import DataError
from core.instruments import Instrument
from sim.data.check_binance import check_binance
from sim.data.check_lobster import check_lobster
from sim.data.clock import correct_tape
from sim.data.frames_to_rows import frames_to_rows
from sim.data.lobster import LobsterSource, read_lobster
from sim.data.tables import TableSource, guess_table_scales, read_bars, read_quotes, read_trades
from tests.adapters.binance.venue_stream import VenueStream
from tests.sim.data.rows import FILES

MESSAGES = FILES / "DEMO_2024-03-08_34200000_57600000_message_3.csv"
BOOK = FILES / "DEMO_2024-03-08_34200000_57600000_orderbook_3.csv"
T0 = 1_700_000_000_000_000_000
DEMO = Instrument(
    instrument_id="DEMO.BINANCE",
    instrument_class=InstrumentClass.SPOT,
    base_currency="BTC",
    quote_currency="USDT",
    settlement_currency="USDT",
    price_scale=1,
    qty_scale=0,
)


def _frames() -> bytes:
    venue = VenueStream(7, futures=True)
    frames = [venue.diff(), venue.snapshot()]
    for step in range(6):
        trade = {"e": "trade", "E": 1, "T": 1_700_000_000_000, "s": "DEMO", "t": step, "p": "100.0", "q": "1", "m": True}
        frames += [venue.diff(), *venue.tickers, json.dumps(trade).encode()]
        venue.tickers.clear()
    return b"".join(b"%d %s\n" % (T0 + step, frame) for step, frame in enumerate(frames))


def _table(path: Path) -> TableSource:
    return TableSource(path, 3, 3, zone="UTC")


def _use_frames(path: Path) -> Iterator[object]:
    yield from correct_tape(lambda: frames_to_rows([path], BinanceBookSession(DEMO, "DEMO")))


def _use_check(path: Path) -> Iterator[object]:
    yield check_binance([path])


READERS: dict[str, tuple[Callable[[], bytes], Callable[[Path], Iterator[object]]]] = {
    "lobster": (MESSAGES.read_bytes, lambda path: read_lobster(LobsterSource(path, session_date=date(2024, 3, 8)))),
    "lobster seeded": (MESSAGES.read_bytes, lambda path: read_lobster(LobsterSource(path, BOOK, session_date=date(2024, 3, 8)))),
    "lobster seed": (BOOK.read_bytes, lambda path: read_lobster(LobsterSource(MESSAGES, path))),
    "lobster check": (BOOK.read_bytes, lambda path: iter([check_lobster(MESSAGES, path)])),
    "frames": (_frames, _use_frames),
    "binance check": (_frames, _use_check),
    "bars": ((FILES / "bars.csv").read_bytes, lambda path: read_bars(_table(path), 60_000_000_000)),
    "bars scales": ((FILES / "bars.csv").read_bytes, lambda path: iter([guess_table_scales(path, _table(path))])),
    "trades": ((FILES / "trades.csv").read_bytes, lambda path: read_trades(_table(path))),
    "quotes": ((FILES / "quotes.csv").read_bytes, lambda path: read_quotes(_table(path))),
}


def damage(data: bytes, draw: st.DataObject) -> bytes:
    """Bytes changed, lines repeated, swapped or dropped, the end cut off, or all of it inside a broken gzip file."""
    for _ in range(draw.draw(st.integers(1, 3))):
        lines = data.split(b"\n")
        first, second = (draw.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match draw.draw(st.sampled_from(["bytes", "text", "repeat", "swap", "drop", "cut", "gzip"])):
            case "bytes" if data:
                at = draw.draw(st.integers(0, len(data) - 1))
                data = data[:at] + bytes([draw.draw(st.integers(0, 255))]) + data[at + 1 :]
            case "text":
                at = draw.draw(st.integers(0, len(data)))
                word = draw.draw(
                    st.sampled_from([b"NaN", b"-", b"1e999", b",", b'"', b"Infinity", b"0", b"\n", b"9" * 25, b".", b"null"])
                )
                data = data[:at] + word + data[at:]
            case "repeat":
                data = b"\n".join([*lines[:first], lines[first], *lines[first:]])
            case "swap":
                lines[first], lines[second] = lines[second], lines[first]
                data = b"\n".join(lines)
            case "drop":
                data = b"\n".join(lines[:first] + lines[first + 1 :])
            case "cut":
                data = data[: draw.draw(st.integers(0, len(data)))]
            case "gzip":
                packed = gzip.compress(data)
                return packed[: draw.draw(st.integers(3, len(packed)))]
    return data


@pytest.mark.parametrize("name", READERS)
@settings(deadline=None, max_examples=150)
@given(draw=st.data())
def test_read_or_refused(name: str, draw: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    original, use = READERS[name]
    path = tmp_path_factory.mktemp("damage", numbered=True) / "file"
    path.write_bytes(damage(original(), draw))
    refused = ""
    try:
        list(use(path))
    except DataError as error:
        refused = str(error)
    assert refused == "" or refused.startswith((f"{path}:", f"{MESSAGES}:", f"{BOOK}:"))


@pytest.mark.parametrize("name", READERS)
def test_whole_files_are_read(name: str, tmp_path: Path) -> None:
    original, use = READERS[name]
    path = tmp_path / "file"
    path.write_bytes(original())
    assert list(use(path))
