"""The venue's rules against the configured instruments: what differs, what has changed, and what trades. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.binance.endpoints import Product
from adapters.binance.instrument_rules import SymbolRules, rules_of
from adapters.binance.rest_bodies import ExchangeInfo
from core.enums import MarketStatus
from core.events import AnyEvent, StatusChanged
from core.instruments import Instrument
from core.units import POW10, format_fixed


class RulesWatch:
    """`instruments` by symbol. `changed`: instruments whose orders would be refused or misread, and why."""

    def __init__(self, product: Product, venue: str, instruments: Mapping[str, Instrument]) -> None:
        self.changed: dict[str | None, str] = {}
        self.rules: dict[str, SymbolRules] = {}
        self._product = product
        self._venue = venue
        self._instruments = dict(instruments)
        self._warnings: list[str] = []
        self._told: set[str] = set()
        self._status: dict[str, MarketStatus] = {}

    def load(self, info: ExchangeInfo) -> list[str]:
        """What differs, in sentences that say both values. Raises VenueProtocolError where a symbol is not traded there."""
        self.rules = rules_of(self._product, info, self._venue, frozenset(self._instruments))
        problems: list[str] = []
        self.changed.clear()
        for symbol, configured in self._instruments.items():
            rules = self.rules[symbol]
            wrong = differences(configured, rules.instrument)
            if wrong:
                self.changed[configured.instrument_id] = "; ".join(wrong)
                problems.append(f"{configured.instrument_id}: {'; '.join(wrong)}")
            for text in outside(configured, rules.instrument):
                if text not in self._told:
                    self._told.add(text)
                    self._warnings.append(text)
        return problems

    def take_warnings(self) -> list[str]:
        """What stops nothing and should be known, each once."""
        warnings, self._warnings = self._warnings, []
        return warnings

    def status_events(self, ts: int) -> list[AnyEvent]:
        """Instruments whose status is not what was said last; TRADING goes without saying."""
        events: list[AnyEvent] = []
        for symbol, rules in self.rules.items():
            key = self._instruments[symbol].instrument_id
            if self._status.get(key, MarketStatus.TRADING) is not rules.status:
                events.append(StatusChanged(ts, ts, key, rules.status))
            self._status[key] = rules.status
        return events


def differences(configured: Instrument, found: Instrument) -> list[str]:
    """Where an order or a price by the one is none by the other. Scales may be finer here: values are compared."""
    wrong = [
        _says(name, str(getattr(configured, name)), str(getattr(found, name)))
        for name in ("base_currency", "quote_currency", "settlement_currency", "multiplier", "is_inverse")
        if getattr(configured, name) != getattr(found, name)
    ]
    if configured.instrument_class is not found.instrument_class:
        wrong.append(_says("class", configured.instrument_class.name.lower(), found.instrument_class.name.lower()))
    for name, here, there in (
        ("tick", (configured.tick, configured.price_scale), (found.tick, found.price_scale)),
        ("lot", (configured.lot, configured.qty_scale), (found.lot, found.qty_scale)),
    ):
        if not _equal(here, there):
            wrong.append(_says(name, format_fixed(*here), format_fixed(*there)))
    return wrong


def outside(configured: Instrument, found: Instrument) -> list[str]:
    """Bounds that are wider here than there: such orders would be refused."""
    wider = []
    for name, scale, is_least in (
        ("qty_min", "qty_scale", True),
        ("qty_max", "qty_scale", False),
        ("price_min", "price_scale", True),
        ("price_max", "price_scale", False),
    ):
        here, there = (getattr(configured, name), getattr(configured, scale)), (getattr(found, name), getattr(found, scale))
        if _less(here, there) if is_least else _less(there, here):
            says = _says(name, format_fixed(*here), format_fixed(*there))
            wider.append(f"{configured.instrument_id}: {says}: what lies between would be refused")
    return wider


def _equal(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] * POW10[other[1]] == other[0] * POW10[one[1]]


def _less(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] * POW10[other[1]] < other[0] * POW10[one[1]]


def _says(name: str, here: str, there: str) -> str:
    return f"{name} is {here} in the configuration and {there} at the venue"
