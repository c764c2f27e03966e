"""An account's history at a simulated Alpaca: executions, and money that moves without one, fees at night among it. Pure.

The venue takes the regulators' fees once a day: of all sales of a New York date together, each kind rounded up to the venue's
grain, under an activity that is dated that day and made in the night after it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from core.enums import Side
from core.instruments import MONEY_SCALE
from sim.venues.alpaca.fees import of_sale, rounded
from sim.venues.alpaca.hours import after_midnight, new_york
from sim.venues.alpaca.settings import USD, AlpacaSimSettings
from sim.venues.alpaca.tickets import Ticket, plain, price_text, stamp_text
from sim.venues.exchange.exchange import Exchange
from sim.venues.exchange.model import Fill

EXECUTION = "FILL"


class Activity(msgspec.Struct):
    """`made_ts`: when it came to be; `shown_ts`: not before then. `amount`: of one that moved money, 10^-MONEY_SCALE USD."""

    id: str
    account: str
    made_ts: int
    shown_ts: int
    body: dict[str, Any]
    amount: int = 0

    @property
    def kind(self) -> str:
        return str(self.body["activity_type"])


class History:
    """`uuid`: the next one; `later`: of the engine."""

    def __init__(
        self,
        settings: AlpacaSimSettings,
        exchange: Exchange,
        uuid: Callable[[], str],
        later: Callable[[int, Callable[[int], None]], None],
    ) -> None:
        self._settings = settings
        self._exchange = exchange
        self._uuid = uuid
        self._later = later
        self._all: list[Activity] = []
        # By account and date: of its sales, what is due to the SEC and to FINRA, with all decimals.
        self._due: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])

    def listed(self, ts: int, account: str, kinds: Iterable[str] | None, after: int | None, until: int | None) -> list[Activity]:
        """Oldest first by what it is dated, as the venue's ids sort; `after` and `until` are of when it was made."""
        wanted = None if kinds is None else set(kinds)
        found = [
            each
            for each in self._all
            if each.account == account
            and each.shown_ts <= ts
            and (after is None or each.made_ts > after)
            and (until is None or each.made_ts < until)
            and (wanted is None or each.kind in wanted)
        ]
        return sorted(found, key=lambda each: each.id[:17])

    # Executions.

    def filled(self, ts: int, ticket: Ticket, fill: Fill, execution: str) -> None:
        rules = ticket.listing.rules
        is_whole = ticket.filled >= ticket.qty
        activity_id = f"{new_york(ts).strftime('%Y%m%d%H%M%S')}{ts // 10**6 % 1000:03d}::{execution}"
        body = {
            "id": activity_id,
            "activity_type": EXECUTION,
            "transaction_time": stamp_text(ts),
            "type": "fill" if is_whole else "partial_fill",
            "side": ticket.side.name.lower(),
            "symbol": ticket.listing.name,
            "leaves_qty": plain(ticket.leaves, rules.qty_scale),
            "cum_qty": plain(ticket.filled, rules.qty_scale),
            "order_id": ticket.id,
            "order_status": ticket.status,
            "price": price_text(rules, fill.price),
            "qty": plain(fill.qty, rules.qty_scale),
        }
        self._all.append(Activity(activity_id, ticket.account.name, ts, ts + self._settings.activities_ns, body))
        self.sold(ts, fill, 1)

    def sold(self, ts: int, fill: Fill, sign: int) -> None:
        """`sign` -1: a sale is taken back."""
        if fill.order.side is Side.BUY:
            return
        day, account = new_york(fill.ts).date().isoformat(), fill.order.account.name
        if (account, day) not in self._due:
            self._later(after_midnight(ts), lambda at: self.charge(at, account))
        due = self._due[account, day]
        for number, amount in enumerate(of_sale(self._settings, fill.order.listing.rules, fill.price, fill.qty, day)):
            due[number] += sign * amount

    # Money.

    def charge(self, ts: int, account: str) -> None:
        """The fees of every day that are not taken yet."""
        days = sorted(day for owner, day in self._due if owner == account)
        for day in days:
            for kind, due in zip(("REG", "TAF"), self._due.pop((account, day)), strict=True):
                if amount := rounded(self._settings, due):
                    text = f"{kind} fee for proceeds on {day}"
                    self.moved(ts, account, "FEE", -amount, sub_type=kind, day=day, description=text)

    def moved(
        self, ts: int, account: str, kind: str, amount: int, *, sub_type: str = "", day: str = "", symbol: str = "", **more: Any
    ) -> Activity:
        """`amount` moves and is written down; `day`: what it is dated, today where it is not said."""
        more |= {"symbol": symbol} if symbol else {}
        self._pay(ts, account, symbol, amount, kind)
        return self.written(ts, account, kind, amount, sub_type=sub_type, day=day, **more)

    def _pay(self, ts: int, account: str, symbol: str, amount: int, cause: str) -> None:
        listing = self._exchange.listings[symbol] if symbol else None
        self._exchange.books.move_cash(ts, self._exchange.accounts[account], listing, USD, amount, cause)

    def written(
        self, ts: int, account: str, kind: str, amount: int, *, sub_type: str = "", day: str = "", **more: Any
    ) -> Activity:
        """Of something that has been done, or that moves no money."""
        day = day or new_york(ts).date().isoformat()
        activity_id = f"{day.replace('-', '')}000000000::{self._uuid()}"
        body = {
            "id": activity_id,
            "activity_type": kind,
            **({"activity_sub_type": sub_type} if sub_type else {}),
            "date": day,
            "created_at": stamp_text(ts),
            "net_amount": plain(amount, MONEY_SCALE),
            "currency": USD,
            "description": "",
            "status": "executed",
            **more,
        }
        made = Activity(activity_id, account, ts, ts + self._settings.money_late_ns, body, amount)
        self._all.append(made)
        return made

    def undo(self, ts: int, account: str) -> None:
        """The account's last movement is canceled: its money goes back. Raises ValueError where there is none."""
        for each in reversed(self._all):
            if each.account == account and each.amount and each.body["status"] == "executed":
                each.body = each.body | {"status": "canceled"}
                self._pay(ts, account, str(each.body.get("symbol", "")), -each.amount, f"{each.kind} canceled")
                return
        raise ValueError(f"account {account} has no movement")
