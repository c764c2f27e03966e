"""What a person puts right where no policy may: a position that no execution explains, an execution that no order of ours does.

Only while trading is HALTED, only what the venue itself shows at this moment where it states positions, and with a reason that is
journaled in front of it. Nothing leaves for the venue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.enums import Side, TradingState
from core.errors import RefusedError, UnitError
from core.events import AnyEvent, OrderFilled, PositionCorrected
from core.instruments import Instrument
from core.order_store import FOREIGN
from core.venue_adapter import VenueState
from daemon.trading.reconcile import adopted_fill, execution_name, foreign_name, position_rest
from daemon.trading.reconciling import Reconciling, booked
from daemon.trading.session import Session


@dataclass(frozen=True, slots=True)
class Wanted:
    """One correction, as it was asked for. With `execution_id` that execution; else the position, at `price`.

    `price` and `qty` (signed: > 0 is added) are texts of decimals; `qty` "": what the venue shows and we do not.
    """

    instrument_id: str
    execution_id: str = ""
    price: str = ""
    qty: str = ""
    strategy_id: str = ""


class Correcting:
    def __init__(self, session: Session, reconciling: Reconciling) -> None:
        self._session, self._reconciling = session, reconciling

    def check(self, wanted: Wanted) -> None:
        """Raises RefusedError for what can be refused without the venue."""
        trader = self._session.trader
        if trader.risk.trading_state is not TradingState.HALTED:
            raise RefusedError("a correction is made while trading is HALTED: halt first, resume after it")
        instrument = self._instrument(wanted)
        if wanted.execution_id:
            if wanted.price or wanted.qty or wanted.strategy_id:
                raise RefusedError("an execution has its own price and quantity, and is booked to (foreign): say nothing else")
            return
        price = _parsed(instrument.parse_price, wanted.price, "price")
        if price < min(instrument.price_min, 0) or (instrument.is_inverse and price == 0):
            raise RefusedError(f"price: {instrument.instrument_id} has no value at {wanted.price}")
        if wanted.qty and _parsed(instrument.parse_qty, wanted.qty, "qty") == 0:
            raise RefusedError("qty: 0 corrects nothing")

    async def make(self, wanted: Wanted, reason: str, uid: int) -> str:
        """Asks the venue, books it, and makes it durable; returns what was booked, in words. Raises RefusedError."""
        self.check(wanted)
        found = await self._reconciling.ask()
        # Meanwhile somebody may have resumed; from here on nothing waits.
        self.check(wanted)
        venue = self._reconciling.shown
        if found.error or venue is None:
            raise RefusedError(f"the venue cannot be asked: {found.error or 'nothing is known of it yet'}; nothing was changed")
        if self._reconciling.shown_at != booked(self._session.trader):
            raise RefusedError("fills came in while the venue was asked; nothing was changed, try again")
        instrument = self._instrument(wanted)
        text = self._execution(wanted, venue, reason, uid) if wanted.execution_id else self._position(wanted, venue, reason, uid)
        self._session.journal.make_durable()
        self._reconciling.nudge()
        return f"{instrument.instrument_id}: {text}"

    def _instrument(self, wanted: Wanted) -> Instrument:
        instrument = self._session.trader.instruments.get(wanted.instrument_id)
        if instrument is None:
            known = ", ".join(sorted(self._session.trader.instruments))
            raise RefusedError(f"there is no instrument {wanted.instrument_id[:64]!r} here; there are {known}")
        return instrument

    def _book(self, event: AnyEvent, reason: str, uid: int) -> None:
        self._session.control("correct", uid, reason, lambda now: [event])

    def _execution(self, wanted: Wanted, venue: VenueState, reason: str, uid: int) -> str:
        trader = self._session.trader
        known = trader.orders.is_known
        fills = [
            fill
            for fill in venue.executions
            if (fill.instrument_id, fill.execution_id) == (wanted.instrument_id, wanted.execution_id)
        ]
        missing = [fill for fill in fills if not known(execution_name(trader, fill)) and not known(foreign_name(fill))]
        if not missing:
            what = "is booked already" if fills else "is not among the executions that the venue shows"
            raise RefusedError(f"execution {wanted.execution_id[:64]} of {wanted.instrument_id} {what}; nothing was changed")
        for fill in missing:
            self._book(adopted_fill(fill, self._session.clock.now()), reason, uid)
        return "; ".join(f"execution {fill.execution_id}, {self._fill_text(fill)}, booked to {FOREIGN}" for fill in missing)

    def _fill_text(self, fill: OrderFilled) -> str:
        instrument = self._session.trader.instruments[fill.instrument_id]
        return f"{fill.side.name} {instrument.format_qty(fill.qty)} at {instrument.format_price(fill.price)}"

    def _position(self, wanted: Wanted, venue: VenueState, reason: str, uid: int) -> str:
        trader, instrument = self._session.trader, self._instrument(wanted)
        key, price = instrument.instrument_id, instrument.parse_price(wanted.price)
        signed = instrument.parse_qty(wanted.qty) if wanted.qty else 0
        rest = position_rest(trader, venue, key)
        if rest is None:
            if not signed:
                raise RefusedError(f"the venue does not state a position in {key}: say how much is added, with qty")
        elif rest == 0:
            raise RefusedError(f"our position in {key} is the venue's; nothing was changed")
        elif signed and signed != rest:
            shown = instrument.format_qty(rest)
            raise RefusedError(f"the venue's position in {key} differs by {shown}, not by {wanted.qty}; nothing was changed")
        else:
            signed = rest
        held = trader.portfolio.by_instrument[key].qty
        # Where nobody holds any, nobody is nearer to it than another.
        strategy_id = wanted.strategy_id or ("" if held else FOREIGN)
        side, now = Side.BUY if signed > 0 else Side.SELL, self._session.clock.now()
        self._book(PositionCorrected(now, now, key, side, price, abs(signed), strategy_id), reason, uid)
        after = instrument.format_qty(trader.portfolio.by_instrument[key].qty)
        return f"{instrument.format_qty(held)} became {after}, at {instrument.format_price(price)}"


def _parsed(parse: Callable[[str], int], text: str, what: str) -> int:
    try:
        return parse(text)
    except UnitError as error:
        raise RefusedError(f"{what}: {error}") from error
