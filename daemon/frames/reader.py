"""Reads recorded frames back, and turns those of a simulated venue into the events that they were when they came."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from adapters.sim.session import TradeSession
from adapters.sim.wire import REQUEST_BYTES_MAX, Frames, SendCommand, decode_request
from core.errors import DataError, RefusedError, StorageError, TransportError, VenueProtocolError
from core.events import AnyEvent
from core.strategy import Subscription
from daemon.frames.format import SUFFIX, Frame, Kind, unpack


def read_frames(folder: Path) -> Iterator[Frame]:
    """Every frame in order. The end of the newest segment may be unfinished. Raises DataError, StorageError."""
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    if not paths:
        raise DataError("there are no recorded frames here", file=str(folder))
    for number, path in enumerate(paths, 1):
        if path.stem != f"{number:06d}":
            raise DataError(f"segment {number:06d} is missing", file=str(folder))
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error
        yield from unpack(data, str(path), is_last=path == paths[-1])


def replay_frames(
    frames: Iterable[Frame], connection: str, instrument_ids: Iterable[str], subscriptions: Iterable[Subscription]
) -> Iterator[AnyEvent]:
    """What the session that was recorded gave out, by the session's own code; ts_init is the moment of the frame.

    Where quotes were let through at intervals, the moments at which a waiting one went on are not in the frames: it goes on with
    the next frame here. Raises DataError where frames were left out: what follows cannot be known.
    """
    session = TradeSession(account="", token="", instrument_ids=instrument_ids, subscriptions=subscriptions)
    sent = Frames(REQUEST_BYTES_MAX)
    for frame in frames:
        if frame.connection != connection:
            continue
        match frame.kind:
            case Kind.OPENED:
                session.connected(frame.ts)
                sent = Frames(REQUEST_BYTES_MAX)
            case Kind.RECEIVED:
                yield from _received(session, frame)
            case Kind.SENT:
                for payload in sent.receive(frame.payload):
                    message = decode_request(payload)
                    if isinstance(message, SendCommand):
                        session.send(frame.ts, message.command)
            case Kind.CLOSED:
                yield from session.lost(frame.ts)
            case Kind.LOST:
                raise DataError("frames were left out here", file=connection)
            case Kind.NAMED:
                raise AssertionError("names are no frames")


def _received(session: TradeSession, frame: Frame) -> Iterator[AnyEvent]:
    yield from session.market.due(frame.ts)
    try:
        yield from session.receive(frame.ts, frame.payload)
    except (VenueProtocolError, TransportError, RefusedError):
        return  # then, too, it ended the connection: CLOSED follows
