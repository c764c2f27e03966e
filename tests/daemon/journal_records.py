"""One record of each shape, a header and a key of the tests' own: what the journal's tests write."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.commands import CancelAll, CancelOrder, SetTimer, SubmitOrder
from core.enums import InstrumentClass, LiquiditySide, OrderType, Reason, Side, TradingState
from core.events import Book, OrderDenied, OrderFilled, OrderRejected, Quote, Started, TradingStateSet
from core.instruments import Instrument
from daemon.journal.anchor import AnchorFile
from daemon.journal.format import PREAMBLE, Frame, JournalHeader, Record, parse_frame, segment_name
from daemon.journal.keys import Signer
from daemon.journal.writer import JournalSettings, JournalWriter

INSTRUMENT = Instrument(
    instrument_id="ACME.SIM",
    instrument_class=InstrumentClass.EQUITY,
    base_currency="ACME",
    quote_currency="USD",
    settlement_currency="USD",
    price_scale=2,
    qty_scale=0,
)
HEADER = JournalHeader(run_id="demo-1", run_number=1, mode="backtest", config={"run": {"name": "demo"}}, instruments=[INSTRUMENT])
RECORDS: list[Record] = [
    Started(1, 1, "demo-1"),
    Quote(2, 3, "ACME.SIM", 9_999, 5, 10_001, 7),
    SubmitOrder(3, 1 << 32 | 1, "maker", "ACME.SIM", Side.BUY, OrderType.LIMIT, 5, 9_999, post_only=True),
    OrderFilled(4, 5, 1 << 32 | 1, "ACME.SIM", "9", Side.BUY, 9_999, 5, 0, LiquiditySide.MAKER, -10, "USD"),
    OrderRejected(5, 6, 1 << 32 | 2, Reason.POST_ONLY, "would cross"),
    OrderDenied(6, 6, 1 << 32 | 3, "maker", "ACME.SIM", "order_qty_max", 9, 5),
    Book(6, 7, "ACME.SIM", ((9_999, 5),), ()),
    SetTimer(7, 1, 50),
    CancelOrder(8, 1 << 32 | 1),
    TradingStateSet(9, 9, TradingState.HALTED, "operator"),
    CancelAll(9, None),
]
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER_SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))


def write(
    path: Path,
    records: list[Record],
    *,
    records_in_frame: int = 3,
    settings: JournalSettings | None = None,
    signer: Signer | None = SIGNER,
    anchor: AnchorFile | None = None,
    journal_id: str = "5" * 32,
) -> None:
    writer = JournalWriter(path, HEADER, settings=settings, signer=signer, anchor=anchor, journal_id=journal_id)
    for index, record in enumerate(records):
        writer.append(record)
        if index % records_in_frame == records_in_frame - 1:
            writer.flush()
    writer.close()


def segments_in(path: Path) -> dict[int, bytes]:
    return {int(file.stem): file.read_bytes() for file in path.glob("*.tdj")}


def put_segments(path: Path, segments: dict[int, bytes]) -> None:
    """The journal at `path` is these segments and nothing else."""
    path.mkdir(exist_ok=True)
    for file in path.glob("*.tdj"):
        file.unlink()
    for number, data in segments.items():
        (path / segment_name(number)).write_bytes(data)


def frames_in(data: bytes) -> list[Frame]:
    """All frames of an undamaged segment."""
    frames = []
    offset = PREAMBLE.size
    while offset < len(data):
        frame = parse_frame(data, offset)
        assert isinstance(frame, Frame), frame
        frames.append(frame)
        offset = frame.end
    return frames
