"""Prometheus metrics: what the daemon's status says, and what the API itself has seen. Units stand in the names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("ACTIVE", "REDUCING", "HALTED")

# name, key in the daemon's status, factor's divisor, what it says.
COUNTERS = (
    ("tradingd_events", "events", "events given to the Trader in this run"),
    ("tradingd_commands", "commands", "commands that left in this run"),
    ("tradingd_orders_sent", "orders_sent", "new orders that left in this run"),
    ("tradingd_fills", "fills", "fills booked in this run"),
    ("tradingd_cash_moves", "cash_moves", "movements of money without a fill booked since the account began"),
    ("tradingd_conflated_events", "conflated", "market events that a later one replaced because the inbox was full"),
    ("tradingd_journal_records", "journal_records", "records written to this run's journal"),
)
GAUGES = (
    ("tradingd_open_orders", "open_orders", "open orders of the account"),
    ("tradingd_inbox_events", "queue_depth", "events that wait in the inbox"),
    ("tradingd_inbox_events_max", "queue_depth_max", "most events that ever waited there in this run"),
    ("tradingd_timers", "timers", "timers that strategies have set"),
    ("tradingd_streams", "streams", "streams open on the control socket"),
)
SECONDS = (
    ("tradingd_event_lag_seconds", "event_lag_us", "of the last event: from its stamp to its step"),
    ("tradingd_event_lag_seconds_max", "event_lag_us_max", "the longest of this run"),
)


class ApiMetrics:
    """What the API has seen; labels have few values, none of them made outside."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "tradingd_api_requests",
            "requests answered, by endpoint and HTTP status",
            ["endpoint", "status"],
            registry=self.registry,
        )
        self._refused = Counter("tradingd_api_refused", "requests refused before any endpoint", ["reason"], registry=registry)
        self.websockets = Gauge("tradingd_api_websockets", "open WebSockets", ["stream"], registry=registry)
        self._cut = Counter("tradingd_api_cut_off", "WebSockets cut off because they did not read", registry=registry)

    def answered(self, endpoint: str, status: int) -> None:
        self._requests.labels(endpoint, str(status)).inc()

    def refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def cut_off(self) -> None:
        self._cut.inc()

    def text(self, status: dict[str, Any] | None) -> bytes:
        """Everything there is; `status` None: the daemon did not answer."""
        registry = CollectorRegistry()
        registry.register(_OfStatus(status))
        return bytes(generate_latest(registry)) + bytes(generate_latest(self.registry))


class _OfStatus(Collector):
    def __init__(self, status: dict[str, Any] | None) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status
        yield GaugeMetricFamily("tradingd_up", "1 where the daemon has answered", value=int(status is not None))
        if status is None:
            return
        for name, key, text in COUNTERS:
            yield CounterMetricFamily(name, text, value=status[key])
        for name, key, text in GAUGES:
            yield GaugeMetricFamily(name, text, value=status[key])
        for name, key, text in SECONDS:
            yield GaugeMetricFamily(name, text, value=status[key] / 1_000_000)
        state = GaugeMetricFamily("tradingd_trading_state", "1 for the state that the account is in", labels=["state"])
        for each in STATES:
            state.add_metric([each], int(status["trading_state"] == each))
        yield state
