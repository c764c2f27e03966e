"""What comes in, in order: lines of both streams and answers with transactions, as core events. Pure.

The log decides what is next, the desk what it means. A transaction that cannot be read is told to a person and passed over: the
next comparison of positions shows what it did.
"""

from __future__ import annotations

from collections.abc import Iterable

from adapters.oanda.desk import Desk
from adapters.oanda.log import TransactionLog
from adapters.oanda.market import Market
from adapters.oanda.wire import (
    AccountAnswer,
    DealAnswer,
    Heartbeat,
    Transaction,
    TransactionsAnswer,
    last_of,
    price_line,
    transaction_line,
)
from core.errors import VenueProtocolError
from core.events import AnyEvent


class OandaSession:
    def __init__(self, account: str, desk: Desk, market: Market) -> None:
        self._account = account
        self.desk = desk
        self.market = market
        self.log = TransactionLog()

    def begin(self, answer: AccountAnswer, *, is_first: bool) -> None:
        """Everything up to the answer's last transaction is in the answer.

        `is_first`: nothing was sent yet, and what an answer before this one has shown may have changed since.
        """
        if is_first:
            self.desk.forget()
        self.desk.begin(answer.account)
        self.log.begin(last_of(answer.last_transaction_id))

    def transaction_line(self, ts: int, line: bytes) -> list[AnyEvent]:
        """Raises VenueProtocolError for a line that is none, or of another account."""
        found = transaction_line(line)
        if isinstance(found, Heartbeat):
            self.log.heard(found.last)
            return []
        if found.account_id and found.account_id != self._account:
            raise VenueProtocolError(f"a transaction of account {found.account_id[:40]}, not of {self._account}")
        return self._apply(ts, self.log.offer((found,)))

    def price_line(self, ts: int, line: bytes) -> list[AnyEvent]:
        """Raises VenueProtocolError."""
        found = price_line(line)
        return [] if isinstance(found, Heartbeat) else self.market.receive(ts, found)

    def answered(self, ts: int, answer: DealAnswer) -> list[AnyEvent]:
        """The transactions of an answer, as far as nothing is missing before them."""
        return self._apply(ts, self.log.offer(answer.transactions))

    def caught_up(self, ts: int, since: int, answer: TransactionsAnswer) -> list[AnyEvent]:
        """Raises VenueProtocolError for an answer that hides what it speaks of."""
        due = self.log.complete(since, answer.transactions, last_of(answer.last_transaction_id))
        return self._apply(ts, due)

    def _apply(self, ts: int, transactions: Iterable[Transaction]) -> list[AnyEvent]:
        events: list[AnyEvent] = []
        for transaction in transactions:
            try:
                events += self.desk.apply(ts, transaction)
            except VenueProtocolError as error:
                self.desk.notes.append(f"transaction {transaction.id} ({transaction.type[:40]}) cannot be read: {error}")
        return events

    def take_notes(self) -> list[str]:
        notes, self.desk.notes = self.desk.notes, []
        return notes
