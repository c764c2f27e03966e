"""What happens at a simulated Alpaca that no client asked for: other people, by hand, by the venue itself. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.enums import Side
from core.instruments import MONEY_SCALE
from core.units import POW10
from sim.venues.alpaca.engine import Engine, MarketNews
from sim.venues.alpaca.hours import Phase
from sim.venues.alpaca.tickets import ApiError, Ticket, plain
from sim.venues.exchange.model import Fill, Listing, Refused

DOLLAR = POW10[MONEY_SCALE]
CENT = DOLLAR // 100
# Status messages of tape C.
HALTED = {"sc": "H", "sm": "Trading Halt", "rc": "T1", "rm": "Halt News Pending"}
PAUSED = {"sc": "P", "sm": "Volatility Trading Pause", "rc": "LUDP", "rm": "Volatility Trading Pause"}
RESUMED = {"sc": "T", "sm": "Trading Resumption", "rc": "", "rm": ""}


class Deeds:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, Callable[[int, dict[str, Any]], None]] = {
            "trade": self._trade,
            "limit": self._limit,
            "fair": self._fair,
            "quiet": self._quiet,
            "manual_order": self._manual_order,
            "manual_cancel": self._manual_cancel,
            "hit": self._hit,
            "bust": self._bust,
            "correct": self._correct,
            "overfill": self._overfill,
            "halt": self._halt,
            "resume": self._resume,
            "luld": self._luld,
            "split": self._split,
            "dividend": self._dividend,
            "restart": self._restart,
            "deposit": self._deposit,
            "withdraw": self._withdraw,
            "interest": self._interest,
            "journal": self._journal,
            "undo": self._undo,
            "night": self._night,
        }

    def act(self, ts: int, name: str, arguments: dict[str, Any]) -> None:
        """Raises ValueError, KeyError or ApiError."""
        deed = self._known.get(name)
        if deed is None:
            raise ValueError(f"{name!r} is nothing that can happen at Alpaca; there are {', '.join(sorted(self._known))}")
        try:
            deed(ts, arguments)
        except Refused as refused:
            raise ValueError(f"{name}: {refused}") from None
        self._engine.settle()

    def _listing(self, arguments: dict[str, Any]) -> Listing:
        return self._engine.exchange.listings[str(arguments["symbol"])]

    def _ticket(self, arguments: dict[str, Any]) -> Ticket:
        return self._engine.find(str(arguments["account"]), str(arguments["id"]))

    def _last_fill(self, arguments: dict[str, Any]) -> Fill:
        account = str(arguments["account"])
        for fill in reversed(self._engine.exchange.fills):
            if fill.order.account.name == account and not fill.is_busted:
                return fill
        raise ValueError(f"account {account} has no execution")

    # Other people.

    def _trade(self, ts: int, arguments: dict[str, Any]) -> None:
        self._engine.exchange.crowd_market(ts, self._listing(arguments), _side(arguments), int(arguments["qty"]))

    def _limit(self, ts: int, arguments: dict[str, Any]) -> None:
        price, qty = int(arguments["price"]), int(arguments["qty"])
        self._engine.exchange.crowd_limit(ts, self._listing(arguments), _side(arguments), price, qty)

    def _fair(self, ts: int, arguments: dict[str, Any]) -> None:
        del ts
        self._engine.crowd.set_fair(self._listing(arguments), int(arguments["price"]))

    def _quiet(self, ts: int, arguments: dict[str, Any]) -> None:
        """Nobody moves any more, and `withdraws` takes what they have in the book along."""
        crowd = self._engine.crowd
        crowd.is_quiet = bool(arguments.get("is_quiet", True))
        if arguments.get("withdraws"):
            crowd.withdraw_all(ts, self._engine.exchange.listings.values())

    def _hit(self, ts: int, arguments: dict[str, Any]) -> None:
        order = self._ticket(arguments).order
        if order is None or not order.is_open:
            raise ValueError("that order does not rest")
        self._engine.exchange.hit(ts, order, int(arguments["qty"]))

    # The owner, by hand.

    def _manual_order(self, ts: int, arguments: dict[str, Any]) -> None:
        fields = {name: value for name, value in arguments.items() if name != "account"}
        self._engine.place(ts, str(arguments["account"]), fields, "manual")

    def _manual_cancel(self, ts: int, arguments: dict[str, Any]) -> None:
        ticket = self._ticket(arguments)
        if not ticket.is_open:
            raise ApiError(422, 42210000, f'order is already in "{ticket.status}" state')
        self._engine.cancel_now(ts, ticket)

    def _deposit(self, ts: int, arguments: dict[str, Any]) -> None:
        self._move(ts, arguments, "CSD", int(arguments["dollars"]) * DOLLAR)

    def _withdraw(self, ts: int, arguments: dict[str, Any]) -> None:
        self._move(ts, arguments, "CSW", -int(arguments["dollars"]) * DOLLAR)

    def _interest(self, ts: int, arguments: dict[str, Any]) -> None:
        """`cents` of margin interest, below 0 where the account pays."""
        self._move(ts, arguments, "INT", int(arguments["cents"]) * CENT, sub_type="MGN")

    def _journal(self, ts: int, arguments: dict[str, Any]) -> None:
        """`dollars` from one account of the owner to the other, `to`."""
        amount = int(arguments["dollars"]) * DOLLAR
        self._move(ts, arguments, "JNLC", -amount)
        self._move(ts, {"account": arguments["to"]}, "JNLC", amount)

    def _move(self, ts: int, arguments: dict[str, Any], kind: str, amount: int, **more: Any) -> None:
        self._engine.history.moved(ts, str(arguments["account"]), kind, amount, **more)

    def _undo(self, ts: int, arguments: dict[str, Any]) -> None:
        self._engine.history.undo(ts, str(arguments["account"]))

    def _night(self, ts: int, arguments: dict[str, Any]) -> None:
        """The fees of what was sold so far are taken now."""
        del arguments
        for name in self._engine.accounts:
            self._engine.history.charge(ts, name)

    # The venue.

    def _bust(self, ts: int, arguments: dict[str, Any]) -> None:
        self._engine.exchange.bust(ts, self._last_fill(arguments))

    def _correct(self, ts: int, arguments: dict[str, Any]) -> None:
        self._engine.exchange.correct(ts, self._last_fill(arguments), int(arguments["price"]))

    def _overfill(self, ts: int, arguments: dict[str, Any]) -> None:
        ticket = self._ticket(arguments)
        fills = [fill for fill in self._engine.exchange.fills if fill.order.tag == ticket.id]
        order = ticket.order or (fills[-1].order if fills else None)
        if order is None:
            raise ValueError("that order never was at the market")
        self._engine.exchange.overfill(ts, order, int(arguments["qty"]), int(arguments["price"]))

    def _halt(self, ts: int, arguments: dict[str, Any]) -> None:
        self._stop(ts, self._listing(arguments), HALTED)

    def _resume(self, ts: int, arguments: dict[str, Any]) -> None:
        self._go_on(ts, self._listing(arguments))

    def _luld(self, ts: int, arguments: dict[str, Any]) -> None:
        """The price stands at a band: 15 s of limit state, then a pause of five minutes."""
        listing, settings = self._listing(arguments), self._engine.settings
        width = listing.last * settings.luld_percent // 100
        bands = {"up": listing.last + width, "down": listing.last - width, "indicator": "B"}
        self._engine.market_news.append(MarketNews(ts, "bands", listing.name, bands))
        paused = ts + settings.luld_limit_state_ns
        self._engine.later(paused, lambda at: self._stop(at, listing, PAUSED))
        self._engine.later(paused + settings.luld_pause_ns, lambda at: self._go_on(at, listing))

    def _stop(self, ts: int, listing: Listing, status: dict[str, str]) -> None:
        engine = self._engine
        if listing.name in engine.halted:
            return
        engine.halted.add(listing.name)
        if engine.phase is not Phase.CLOSED:
            engine.exchange.halt(ts, listing)
        engine.market_news.append(MarketNews(ts, "status", listing.name, dict(status)))

    def _go_on(self, ts: int, listing: Listing) -> None:
        if listing.name not in self._engine.halted:
            return
        self._engine.halted.discard(listing.name)
        self._engine.market_news.append(MarketNews(ts, "status", listing.name, dict(RESUMED)))
        self._engine.reopen(ts, listing)

    def _split(self, ts: int, arguments: dict[str, Any]) -> None:
        listing = self._listing(arguments)
        numerator, denominator = int(arguments["numerator"]), int(arguments["denominator"])
        engine = self._engine
        # Orders that wait for their session leave as those in the book do.
        for ticket in [each for name in engine.accounts for each in engine.open_tickets(name) if each.listing is listing]:
            engine.cancel_now(ts, ticket)
        held = {name: account.qty(listing) for name, account in engine.exchange.accounts.items()}
        paid = {move.account.name: move.amount for move in engine.exchange.split(ts, listing, numerator, denominator)}
        sub_type = "FSPLIT" if numerator > denominator else "RSPLIT"
        for name, before in held.items():
            if before:
                # How many shares more or fewer, and what a fraction of one was paid for.
                qty = engine.exchange.accounts[name].qty(listing) - before
                more = {"symbol": listing.name, "qty": plain(qty, listing.rules.qty_scale)}
                engine.history.written(ts, name, "SPLIT", paid.get(name, 0), sub_type=sub_type, **more)
        if listing.name in engine.settings.fair:
            engine.crowd.set_fair(listing, engine.crowd.fair(listing) * denominator // numerator)

    def _dividend(self, ts: int, arguments: dict[str, Any]) -> None:
        """`cash`: points of the listing's price for each share."""
        listing = self._listing(arguments)
        rules, cash = listing.rules, int(arguments["cash"])
        for account in self._engine.exchange.accounts.values():
            if held := account.qty(listing):
                more = {
                    "symbol": listing.name,
                    "qty": plain(held, rules.qty_scale),
                    "per_share_amount": plain(cash, rules.price_scale),
                }
                amount = rules.notional(cash, held)
                self._engine.history.moved(ts, account.name, "DIV", amount, sub_type="CDIV", **more)

    def _restart(self, ts: int, arguments: dict[str, Any]) -> None:
        """`loses`: orders that were open are forgotten."""
        if not arguments.get("loses"):
            return
        engine = self._engine
        for name in engine.accounts:
            for ticket in engine.open_tickets(name):
                if ticket.order is not None:
                    engine.exchange.lose(ts, [ticket.order])
                ticket.is_lost = True


def _side(arguments: dict[str, Any]) -> Side:
    return {"BUY": Side.BUY, "SELL": Side.SELL}[str(arguments["side"]).upper()]
