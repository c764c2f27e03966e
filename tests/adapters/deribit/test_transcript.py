"""One session on the wire, to be read: login, a quote, an order, an edit, a fill, a cancel, a refusal, a lost connection.

`python -m tests.adapters.deribit.test_transcript` writes the golden file anew; read its diff first.
"""

from __future__ import annotations

from pathlib import Path

from adapters.deribit.session import Phase
from core.enums import Side
from tests.adapters.deribit.hand import BTC, HandWorld
from tests.adapters.deribit.world import MS, T0, S

GOLDEN = Path(__file__).parent / "golden" / "session.txt"
BID, ASK = 4_999_950, 5_000_050


class Transcript(HandWorld):
    """Frames and events with their time in ms, in the order they happened."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        super().__init__()

    def note(self, mark: str, text: str) -> None:
        self.lines.append(f"{(self.now - T0) / MS:>9.1f} {mark} {text}")

    def arrive(self, connection: int, payload: bytes) -> None:
        if connection == self.connection:
            self.note("<", payload.decode())
        super().arrive(connection, payload)

    def post(self, payload: bytes) -> None:
        self.note(">", payload.decode())
        super().post(payload)

    def step(self, event: object) -> None:
        if type(event).__name__ not in ("TimerFired",):
            self.note("=", repr(event).replace(str(T0)[:7], "T"))
        super().step(event)


def play() -> str:
    world = Transcript()
    world.begin()
    order = world.submit(BTC, Side.BUY, 40, BID, post_only=True)
    world.do(lambda context: context.replace(order, 30, BID - 50))
    world.submit(BTC, Side.SELL, 20, BID)
    world.do(lambda context: context.cancel(order))
    world.submit(BTC, Side.BUY, 10, ASK, post_only=True)
    resting = world.submit(BTC, Side.BUY, 10, BID - 100)
    world.lines.append("          - the connection is lost")
    world.cut()
    world.run_until(lambda: world.session.phase is Phase.READY, bound_ns=30 * S)
    world.lines.append(f"          - {resting!r}")
    return "\n".join(world.lines) + "\n"


def test_the_session_is_the_one_in_the_golden_file() -> None:
    assert play() == GOLDEN.read_text(encoding="utf-8")


if __name__ == "__main__":
    GOLDEN.write_text(play(), encoding="utf-8")
