"""The account's transactions in their own order, each once, from wherever they come first: stream, answer or question. Pure.

OANDA numbers everything that happens to an account. A number that is missing is a transaction that was not heard of, and the
question "everything since N" brings it: so nothing here rests on a stream.
"""

from __future__ import annotations

from collections.abc import Iterable

from adapters.oanda.wire import Transaction
from core.errors import VenueProtocolError

EARLY_MAX = 10_000  # transactions that wait for one before them; beyond, the question brings them anyway


class TransactionLog:
    """`last`: all transactions up to this one were given out. `known_last`: so many there are, as far as anybody said."""

    def __init__(self) -> None:
        self.last = 0
        self.known_last = 0
        self._early: dict[int, Transaction] = {}

    def begin(self, last: int) -> None:
        """What is up to `last` is known otherwise."""
        self.last = last
        self.known_last = max(self.known_last, last)
        self._early = {number: found for number, found in self._early.items() if number > last}

    @property
    def is_behind(self) -> bool:
        return self.last < self.known_last

    def heard(self, last: int) -> None:
        """Somebody says that transaction `last` exists."""
        self.known_last = max(self.known_last, last)

    def offer(self, transactions: Iterable[Transaction]) -> list[Transaction]:
        """Those whose turn it is now, in order; what comes too early waits, what was given out before is dropped."""
        for transaction in transactions:
            number = transaction.number
            self.known_last = max(self.known_last, number)
            if number > self.last and len(self._early) < EARLY_MAX:
                self._early[number] = transaction
        return self._take()

    def complete(self, since: int, transactions: Iterable[Transaction], last: int) -> list[Transaction]:
        """The answer to "everything since `since`": nothing is missing in it. A long one may end before `last`.

        Raises VenueProtocolError for one that shows nothing though there is more.
        """
        assert since <= self.last
        found = list(transactions)
        if not found and last > since:
            raise VenueProtocolError(f"there are transactions up to {last}, and the venue shows none since {since}")
        end = found[-1].number if found else since
        self.known_last = max(self.known_last, last)
        due = [transaction for transaction in found if transaction.number > self.last]
        if end > self.last:
            self.last = end
            self._early = {number: early for number, early in self._early.items() if number > end}
        return due + self._take()

    def _take(self) -> list[Transaction]:
        due: list[Transaction] = []
        while (found := self._early.pop(self.last + 1, None)) is not None:
            self.last += 1
            due.append(found)
        return due
