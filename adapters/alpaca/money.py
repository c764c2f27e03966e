"""Money that no fill explains: the account's other activities as CashMoved, each once by the stream and whenever asked. Pure.

The stream of trades does not tell them: they are asked for by when they were made (`created_at`); they are often dated the day
before. An id is the movement's name. One that is canceled later keeps its id: then both are said, the movement and what takes it
back, so that whoever has booked the first or neither comes to the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

import msgspec

from adapters.alpaca.exact import date_days, is_null, number_of, optional_number, stamp_of
from adapters.alpaca.wire import MovementBody
from core.enums import CashKind
from core.errors import VenueProtocolError
from core.events import CashMoved
from core.instruments import MONEY_SCALE
from core.units import NS_PER_DAY

MOVES_KEPT_MAX = 10_000
CANCELED = "canceled"
FEE = "FEE"
# A fee of these kinds is what fills carry where they carry estimates.
ESTIMATED = frozenset({"REG", "TAF"})
KINDS: Mapping[str, CashKind] = {
    **dict.fromkeys(("FEE", "CFEE", "PTC", "PTR"), CashKind.COMMISSION),
    **dict.fromkeys(
        ("DIV", "CGD", "DIVCGL", "DIVCGS", "DIVFEE", "DIVFT", "DIVNRA", "DIVROC", "DIVTW", "DIVTXEX", "DIVWH"), CashKind.DIVIDEND
    ),
    **dict.fromkeys(("INT", "INTNRA", "INTTW"), CashKind.INTEREST),
    **dict.fromkeys(("CSD", "CSW", "CSR", "JNL", "JNLC", "ACATC", "FOPT", "OCT"), CashKind.TRANSFER),
    **dict.fromkeys(("OPASN", "OPCA", "OPCSH", "OPEXC", "OPEXP", "OPTRD", "ECEXP", "FIMAT"), CashKind.SETTLEMENT),
    "CORR": CashKind.CORRECTION,
}
# What may change positions, symbols or orders without a fill: a person has to look.
ACTIONS = frozenset({"SPLIT", "SPIN", "SSP", "SSO", "MA", "NC", "SC", "REO", "REORG", "VOF", "ACATS", "JNLS", "OPASN", "OPEXC"})
STOCK_DIVIDEND = "SDIV"


class Moves:
    """What has moved, as far as it was asked for. `take_new` gives each once, `kept` all, again and again.

    `begun_ts` (ns UTC): what was made before is never new: whether it is of the account's time only a comparison knows.
    `are_estimated`: fills carry estimates of the regulators' fees, so these are not said again.
    """

    def __init__(self, venue: str, by_symbol: Mapping[str, str], *, begun_ts: int, are_estimated: bool) -> None:
        self._venue = venue
        self._by_symbol = by_symbol
        self._begun_ts = begun_ts
        self._are_estimated = are_estimated
        self._kept: OrderedDict[str, CashMoved] = OrderedDict()
        self._new: list[CashMoved] = []
        self._told: OrderedDict[str, None] = OrderedDict()
        self._is_away = False
        self.troubles: list[str] = []

    def hear(self, ts: int, bodies: Iterable[MovementBody]) -> None:
        """`ts`: now, ns UTC."""
        for body in bodies:
            try:
                self._take(ts, body)
            except VenueProtocolError as error:
                self._tell(body.id, f"activity {body.id} cannot be read, and is not booked: {error}")

    def unread(self, text: str) -> None:
        """A row of the list that is no activity at all."""
        self._tell(text, f"an activity cannot be read, and is not booked: {text}")

    def unasked(self, why: str) -> None:
        """The venue does not answer: said once, until it does."""
        if not self._is_away:
            self.troubles.append(f"money that moved without a fill cannot be asked for: {why}")
        self._is_away = True

    def asked(self) -> None:
        self._is_away = False

    def take_new(self) -> list[CashMoved]:
        new, self._new = self._new, []
        return new

    def kept(self) -> tuple[CashMoved, ...]:
        """In the order they were made."""
        return tuple(sorted(self._kept.values(), key=lambda move: (move.ts_event, move.movement_id)))

    def _take(self, ts: int, body: MovementBody) -> None:
        if body.activity_type in ACTIONS or body.activity_sub_type == STOCK_DIVIDEND:
            self._tell(body.id, _action(body))
        amount = 0 if is_null(body.net_amount) else number_of(body.net_amount, MONEY_SCALE, "net_amount")
        if not amount or (self._are_estimated and _is_estimated(body)):
            return
        move = CashMoved(
            made_ts(body),
            ts,
            self._venue,
            body.id,
            KINDS.get(body.activity_type, CashKind.OTHER),
            body.currency or "USD",
            amount,
            self._by_symbol.get(body.symbol or "", ""),
        )
        self._keep(move)
        if body.status == CANCELED:
            taken_back = msgspec.structs.replace(
                move, movement_id=f"{body.id}/{CANCELED}", kind=CashKind.CORRECTION, amount=-amount
            )
            self._keep(taken_back)

    def _keep(self, move: CashMoved) -> None:
        known = self._kept.get(move.movement_id)
        if known is None:
            self._kept[move.movement_id] = move
            if move.ts_event >= self._begun_ts:
                self._new.append(move)
            if len(self._kept) > MOVES_KEPT_MAX:
                self._kept.popitem(last=False)
        elif (known.amount, known.currency) != (move.amount, move.currency):
            text = f"activity {move.movement_id} was {known.amount} {known.currency} and is {move.amount} {move.currency} (10^-8)"
            self._tell(f"{move.movement_id} {move.amount}", f"{text}: the books need the difference by hand")

    def _tell(self, name: str, text: str) -> None:
        """Once for each `name`."""
        if name in self._told:
            return
        self._told[name] = None
        if len(self._told) > MOVES_KEPT_MAX:
            self._told.popitem(last=False)
        self.troubles.append(text)


def made_ts(body: MovementBody) -> int:
    """ns UTC; where the venue does not say when it was made, the beginning of the day it is dated. Raises VenueProtocolError."""
    if body.created_at is not None:
        return stamp_of(body.created_at, "created_at")
    return date_days((body.date or "")[:10]) * NS_PER_DAY


def _is_estimated(body: MovementBody) -> bool:
    # Fees of before 2025 have no sub-type: their description begins with it.
    sub_type = body.activity_sub_type or (body.description or "").partition(" ")[0]
    return body.activity_type == FEE and sub_type in ESTIMATED


def _action(body: MovementBody) -> str:
    qty = optional_number(body.qty, MONEY_SCALE, "qty")
    of = f" of {body.symbol}" if body.symbol else ""
    shares = "" if not qty else f", {bytes(body.qty).decode().strip(chr(34))} shares"
    name = body.activity_type + (f" {body.activity_sub_type}" if body.activity_sub_type else "")
    return f"corporate action or transfer {name}{of}{shares}: positions and orders change without a fill"
