"""Asks the futures' income history when the account's stream says that money has moved, and on a timer.

The history is behind the stream, so that it is asked again for a while. Where it cannot be asked orders go on:
what is missed is found by the next asking, of this run or another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import anyio

from adapters.binance.account import Account
from adapters.binance.cash_moves import balance_moved, calls_for_history, income_moved
from adapters.binance.endpoints import Product
from adapters.binance.income_log import READ_AGAIN_MS, IncomeLog
from adapters.binance.rest_bodies import IncomeBody
from adapters.binance.user_stream import AccountUpdate, BalanceUpdate, UserMessage
from adapters.http.io import HttpTransport
from core.errors import CapacityError, VenueProtocolError
from core.events import AnyEvent, CashMoved
from core.units import NS_PER_MS

ASK_S = 60.0  # at the latest; one asking is weight 30
# Behind the stream's word that money has moved, as long as the history shows nothing new; and once more behind what it shows.
AFTER_WORD_S = (1.0, 3.0, 7.0, 15.0, 30.0)
AFTER_NEWS_S = 2.0
AFTER_RECONNECT_S = 2.0
AHEAD_MS = 1_000  # what the venue stamps while it is being asked must not be left out
HEARD_KEPT_MAX = 10_000


class CashWatch:
    """`http` gives the transport of the moment, `venue_now` the venue's clock in ns; `emit` and `tell` are the adapter's own."""

    def __init__(
        self,
        account: Account,
        *,
        http: Callable[[], HttpTransport],
        venue_now: Callable[[], int],
        emit: Callable[[Sequence[AnyEvent]], None],
        tell: Callable[[str], None],
    ) -> None:
        self._account = account
        self._http, self._venue_now, self._emit, self._tell = http, venue_now, emit, tell
        self._log = IncomeLog()
        self._known: list[CashMoved] = []
        self._heard: deque[CashMoved] = deque(maxlen=HEARD_KEPT_MAX)  # spot: what its stream has said
        self._wanted = anyio.Event()
        self._asking = anyio.Lock()
        self._asked_s = -ASK_S
        self._due_s: list[float] = []  # when to ask besides, in order
        self._since_ts = 0
        self._opened_ts = 0

    def opened(self) -> None:
        """What is older than now is for `moves`: the stream never says it."""
        self._opened_ts = self._opened_ts or self._venue_now()
        self._since_ts = self._since_ts or self._opened_ts

    def reconnected(self) -> None:
        """What the stream would have said meanwhile is not known."""
        self._ask_after(AFTER_RECONNECT_S)

    def _ask_after(self, *seconds: float) -> None:
        now_s = anyio.current_time()
        self._due_s = sorted({*self._due_s, *(now_s + each for each in seconds)})[-len(AFTER_WORD_S) :]
        self._wanted.set()

    def heard(self, message: UserMessage) -> None:
        """Raises VenueProtocolError for amounts that are none."""
        match message:
            case BalanceUpdate():
                moved = balance_moved(self._account.venue, message, self._account.now())
                self._heard.append(moved)
                self._emit((moved,))
            case AccountUpdate() if calls_for_history(message):
                self._ask_after(*AFTER_WORD_S)

    async def run(self) -> None:
        while self._account.product is Product.USDM:
            with anyio.move_on_after(max(self._next_s() - anyio.current_time(), 0)):
                await self._wanted.wait()
            self._wanted = anyio.Event()
            if anyio.current_time() >= self._next_s():
                await self._ask()

    def _next_s(self) -> float:
        return min([self._asked_s + ASK_S, *self._due_s])

    async def moves(self, since_ts: int) -> tuple[CashMoved, ...]:
        """What is known of the time from `since_ts` on (ns UTC); asked for where that was long ago."""
        if self._account.product is not Product.USDM:
            return tuple(moved for moved in self._heard if moved.ts_event >= since_ts)
        is_earlier = since_ts < self._since_ts
        self._since_ts = since_ts
        if is_earlier or anyio.current_time() >= self._next_s():
            await self._ask()
        earliest_ts = since_ts - READ_AGAIN_MS * NS_PER_MS
        return tuple(moved for moved in self._known if moved.ts_event >= earliest_ts)

    async def _ask(self) -> None:
        """What cannot be asked is told, and asked again later."""
        async with self._asking:
            self._asked_s = anyio.current_time()
            self._due_s = [each for each in self._due_s if each > self._asked_s]
            log = self._log
            log.begin(self._since_ts // NS_PER_MS, self._venue_now() // NS_PER_MS + AHEAD_MS)
            try:
                while log.next is not None:
                    sent = await self._http().send(self._account.codec.income(log.next))
                    if sent.value is None:
                        self._tell(f"the income history cannot be asked: {sent.outcome.name} {sent.reason}")
                        return
                    log.answered(sent.value)
            except CapacityError as error:
                self._tell(str(error))
                return
            before = {moved.movement_id for moved in self._known}
            self._known = self._read(log.known())
        new = [moved for moved in self._known if moved.movement_id not in before]
        if new and self._due_s:
            self._due_s = []
            self._ask_after(AFTER_NEWS_S)
        self._emit([moved for moved in new if moved.ts_event >= self._opened_ts])

    def _read(self, rows: Sequence[IncomeBody]) -> list[CashMoved]:
        account, found = self._account, []
        for row in rows:
            try:
                found.append(income_moved(account.venue, row, account.instruments, account.now()))
            except VenueProtocolError as error:
                self._tell(f"a payment cannot be read: {row.name}: {error}")
        return found
