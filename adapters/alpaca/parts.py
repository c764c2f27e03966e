"""Puts together what the adapter is made of."""

from __future__ import annotations

from adapters.alpaca.codec import AlpacaCodec
from adapters.alpaca.desk import OrderDesk
from adapters.alpaca.money import Moves
from adapters.alpaca.movements import MovementReader
from adapters.alpaca.orders import Orders
from adapters.alpaca.outcomes import ORDERS, REQUESTS
from adapters.alpaca.questions import Questions
from adapters.alpaca.settings import AlpacaSettings
from adapters.alpaca.truth import AccountReader
from adapters.http.meters import SlidingWindow
from core.units import NS_PER_SECOND
from core.venue_opening import VenueOpening

MINUTE_NS = 60 * NS_PER_SECOND


def open_meters(settings: AlpacaSettings) -> dict[str, SlidingWindow]:
    return {
        REQUESTS: SlidingWindow(
            settings.requests_per_min,
            MINUTE_NS,
            cancel_reserve=settings.cancel_reserve,
            query_reserve=settings.comparison_reserve,
        ),
        ORDERS: SlidingWindow(settings.orders_per_min, MINUTE_NS),
    }


def open_desk(settings: AlpacaSettings, codec: AlpacaCodec, orders: Orders) -> OrderDesk:
    return OrderDesk(
        codec,
        orders,
        Questions(settings.unknown_bound_ns, settings.not_found_needed),
        replaces=settings.replace == "unfilled",
        fills_late_ns=int(settings.activities_late_s * NS_PER_SECOND),
    )


def open_movements(opening: VenueOpening, settings: AlpacaSettings, codec: AlpacaCodec, reader: AccountReader) -> MovementReader:
    begun_ts = opening.now()
    return MovementReader(
        codec,
        Moves(opening.venue, codec.by_symbol, begun_ts=begun_ts, are_estimated=settings.fees_from_schedule),
        ask=reader.ask,
        now=opening.now,
        begun_ts=begun_ts,
        interval_ns=int(settings.money_interval_s * NS_PER_SECOND),
        late_ns=int(settings.money_late_s * NS_PER_SECOND),
    )
