"""The account, test keys and times of a drill for each kind of connection: it gives up waiting much sooner than live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from daemon.config.models_connections import Connection


@dataclass(frozen=True, slots=True)
class Profile:
    """An account of a kind's simulator, and its test secrets by part: key, secret, token, and the guardian's.

    `settings`: live waits long because venues are slow, and a drill that did would take all day. What is waited for is the same.
    `reports_cash`: the simulator's ledger has all that moves money without a fill, and the adapter says all of it.
    """

    account: str
    secrets: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    reports_cash: bool = False
    book_levels: int = 0  # that the drill's strategy hears, where best prices come by a stream of their own
    pause_ms: int = 250  # between two steps of it there: it must not use up what the venue grants in a minute
    simulator: str = ""  # of this name where it is not the kind's own
    not_shown: Mapping[int, str] = field(default_factory=dict)  # beside what the simulator says of itself


BINANCE = Profile(
    "us", {"key": "us-key", "secret": "us-secret"}, {"recv_window_ms": 1_000, "request_deadline_s": 2.0}, book_levels=5
)
_POLLED = dict.fromkeys(
    (22, 23, 24, 25, 34, 35, 41, 42, 43, 44, 49, 50, 51, 54, 55, 56, 59, 61),
    "the adapter polls, and only a stream shows it",
) | {20: "it asks about an order by itself only where the list of open ones lacks it; its tests against the simulator show it"}


def _polling(simulator: str, options: Mapping[str, Any], not_shown: Mapping[int, str] = MappingProxyType({})) -> Profile:
    """Of the generic adapter at a simulator of Binance. `options` are ccxt's own."""
    settings = {"deadline_s": 2.0, "silence_timeout_s": 2.0, "not_found_s": 3.0, "poll_idle_s": 2.0, "lost_after_s": 6.0}
    return Profile(
        BINANCE.account,
        BINANCE.secrets,
        settings | ({"options": dict(options)} if options else {}),
        simulator=simulator,
        not_shown=_POLLED | dict(not_shown),
    )


PROFILES: dict[str, Profile] = {
    "deribit": Profile(
        "main",
        {
            "key": "sim-main",
            "secret": "sim-main-secret",
            "guardian_key": "sim-main-guardian",
            "guardian_secret": "sim-main-guardian-secret",
        },
        {
            "answer_ms": 1_500,
            "order_valid_ms": 1_000,
            "server_clock_error_ms": 200,
            "look_interval_ms": 3_000,
            "stream_late_ms_max": 1_500,
            "silence_s": 12,
            "refused_wait_ms": 2_000,
            "cash_interval_ms": 3_000,
        },
        reports_cash=True,
    ),
    "binance-spot": BINANCE,
    "binance-usdm": BINANCE,
    "alpaca": Profile(
        "main",
        {
            "key": "PKSIMULATED00000MAIN",
            "secret": "simulated-secret-of-main",
            "guardian_key": "PKSIMULATED0GUARDIAN",
            "guardian_secret": "simulated-secret-of-guardian",
        },
        {
            "request_deadline_s": 2.0,
            "unknown_bound_s": 3.0,
            "silence_s": 10.0,
            "ping_s": 2.0,
            "activities_late_s": 5.0,
            "money_interval_s": 2.0,
        },
        reports_cash=True,
        pause_ms=600,
    ),
    "oanda": Profile(
        "101-001-1000001-001",
        {"token": "simulated-token-1"},
        {"request_deadline_s": 2.0, "look_s": 3.0, "not_found_s": 3.0},
        reports_cash=True,
    ),
    "ib": Profile(
        "DU1000001",
        {},
        {
            "answer_timeout_s": 2.0,
            "not_found_s": 3.0,
            "heartbeat_s": 2.0,
            "silence_s": 8.0,
            "request_timeout_s": 4.0,
            "reset_quiet_s": 0,  # the simulator has its reset when a drill says so, and not by the hour of the day
        },
        reports_cash=True,
        book_levels=3,
    ),
    "ccxt-spot": _polling("binance-spot", {"fetchMarkets": {"types": ["spot"]}}),
    "ccxt-usdm": _polling("binance-usdm", {}, {64: "money that moves without a fill is not told by it (docs/VENUES-CCXT.md)"}),
}
CCXT_KINDS = {"binance": "ccxt-spot", "binanceusdm": "ccxt-usdm"}  # by the exchange as ccxt calls it


def kind_of(connection: Connection) -> str:
    """By what it is drilled: its adapter, or what of an adapter for many there is a simulator of."""
    if connection.adapter != "ccxt":
        return connection.adapter
    return CCXT_KINDS.get(str(connection.settings.get("exchange", "")), connection.adapter)
