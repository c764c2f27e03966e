"""The displays: silent for JSON, lines elsewhere, a live table on a terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest

from daemon.progress import LineDisplay, SilentDisplay, TerminalDisplay, brief, choose_display, line_of

STATUS: dict[str, Any] = {
    "name": "demo",
    "progress": 0.25,
    "sim_time": "2026-01-05T14:30:43.600000000Z",
    "currency": "USD",
    "net_pnl": "-1.32904000",
    "equity": "99998.67096000",
    "fills": 1_234,
    "orders": 11,
    "events": 20_000,
    "instruments": {
        "ACME.SIM": {
            "bid": "100.07",
            "ask": "100.09",
            "mid": "100.080",
            "spread": "0.02",
            "position": "-45",
            "open_orders": 2,
        },
        "BETA.SIM": {"bid": None, "ask": None, "mid": None, "spread": None, "position": "0", "open_orders": 0},
    },
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def status() -> dict[str, Any]:
    return STATUS


def test_the_stream_decides() -> None:
    assert isinstance(choose_display(quiet=True, interval_ns=1, source=status, stream=Terminal()), SilentDisplay)
    assert isinstance(choose_display(quiet=False, interval_ns=1, source=status, stream=io.StringIO()), LineDisplay)
    assert isinstance(choose_display(quiet=False, interval_ns=1, source=status, stream=Terminal()), TerminalDisplay)


def test_one_line() -> None:
    assert line_of(STATUS) == (
        " 25.0 %  2026-01-05 14:30:43  ACME.SIM 100.07/100.09 position -45  BETA.SIM -/- position 0  "
        "profit -1.32 USD  1,234 fills  20,000 events"
    )


def test_a_line_comes_with_each_interval_and_at_the_end() -> None:
    stream = io.StringIO()
    hurried, patient = LineDisplay(status, stream, 0), LineDisplay(status, stream, 10**15)
    for display in (hurried, patient):
        display.start()
        display.update()
        display.update()
    assert len(stream.getvalue().splitlines()) == 2
    patient.stop()
    assert len(stream.getvalue().splitlines()) == 3


def test_the_terminal_shows_market_position_profit_and_fills() -> None:
    stream = Terminal()
    display = TerminalDisplay(status, stream)
    display.start()
    display.stop()
    shown = stream.getvalue()
    for part in ("ACME.SIM", "100.080", "0.02", "-45", "-1.32 USD", "99998.67", "1,234", "25%"):
        assert part in shown


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("-1.32904000", "-1.32"), ("0.00108447", "0.00108447"), ("-0.00000001", "-0.00000001"), ("1000.00000000", "1000.00")],
)
def test_money_for_the_eye(amount: str, shown: str) -> None:
    assert brief(amount) == shown
