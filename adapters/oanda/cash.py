"""What a transaction moves in money beside what its fills carry, as core events. Pure.

A fill's commission and guaranteed execution fee are in its OrderFilled, and its profit follows from its price. Its financing is
money of its own, and so is the conversion where it is dealt in another currency than the account's: OANDA books the profit in
the account's currency, at once. halfSpreadCost is in the price already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from adapters.oanda.exact import rounded_of, time_of
from adapters.oanda.rules import Rules
from adapters.oanda.wire import Transaction
from core.enums import CashKind
from core.events import CashMoved
from core.instruments import MONEY_SCALE

Move = tuple[str, CashKind, str, int, str]  # its name, what it is, currency, 10^-MONEY_SCALE, the venue's instrument
_TRANSFER_KINDS = {"ADJUSTMENT": CashKind.CORRECTION}


class Cash:
    """`by_name`: the configured instruments by the venue's names."""

    def __init__(self, venue: str, by_name: Mapping[str, Rules]) -> None:
        self._venue = venue
        self._by_name = by_name

    def moves(self, ts: int, transaction: Transaction, home: str) -> list[CashMoved]:
        """`home`: the account's currency. Raises VenueProtocolError for an amount that is no number."""
        found: Iterable[Move]
        match transaction.type:
            case "ORDER_FILL":
                found = self._of_fill(transaction, home)
            case "DAILY_FINANCING":
                found = self._of_day(transaction, home)
            case "TRANSFER_FUNDS":
                kind = _TRANSFER_KINDS.get(transaction.funding_reason, CashKind.TRANSFER)
                found = [(transaction.id, kind, home, _money(transaction.amount), "")]
            case "DIVIDEND_ADJUSTMENT":
                name = transaction.instrument
                found = [(transaction.id, CashKind.DIVIDEND, home, _money(transaction.dividend_adjustment), name)]
            case _:
                return []
        ts_event = time_of(transaction.time)
        return [
            CashMoved(ts_event, ts, self._venue, movement_id, kind, currency, amount, self._key(name))
            for movement_id, kind, currency, amount, name in found
            if amount
        ]

    def _of_fill(self, transaction: Transaction, home: str) -> Iterator[Move]:
        number, name = transaction.id, transaction.instrument
        rules = self._by_name.get(name)
        yield number, CashKind.INTEREST, home, _money(transaction.financing), name
        profit = _money(transaction.profit)
        if rules is None:
            # Nobody books such a fill: what it has brought is money without one.
            fees = _money(transaction.commission) + _money(transaction.guaranteed_execution_fee)
            yield f"{number}.{name}", CashKind.OTHER, home, profit - fees, name
        elif rules.instrument.settlement_currency != home and transaction.quote_profit:
            quote = rules.instrument.settlement_currency
            yield f"{number}.{quote}", CashKind.OTHER, quote, -_money(transaction.quote_profit), name
            yield f"{number}.{home}", CashKind.OTHER, home, profit, name

    @staticmethod
    def _of_day(transaction: Transaction, home: str) -> Iterator[Move]:
        """By position; what the positions do not add up to is the account's."""
        left = _money(transaction.financing)
        for part in transaction.position_financings:
            amount = _money(part.financing)
            left -= amount
            yield f"{transaction.id}.{part.instrument}", CashKind.INTEREST, home, amount, part.instrument
        yield transaction.id, CashKind.INTEREST, home, left, ""

    def _key(self, name: str) -> str:
        rules = self._by_name.get(name)
        return "" if rules is None else rules.instrument.instrument_id


def _money(text: str) -> int:
    """10^-MONEY_SCALE; nothing said is nothing moved."""
    return rounded_of(text, MONEY_SCALE, "amount") if text else 0
