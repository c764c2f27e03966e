"""What happens at the simulated gateway and its exchange that no client asked for (`act`). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.enums import OrderType, Side
from sim.venues.exchange.model import Account, Listing, NewOrder, Order, Refused
from sim.venues.ib import answers

if TYPE_CHECKING:
    from sim.venues.ib.venue import IbVenue

LOST = "Connectivity between IBKR and Trader Workstation has been lost."
RESTORED_EMPTY = "Connectivity between IBKR and Trader Workstation has been restored - data lost."
RESTORED = "Connectivity between IBKR and Trader Workstation has been restored - data maintained."
FARM_BROKEN = "Market data farm connection is broken:usfuture"


class Deeds:
    """Prices are points and quantities units of the instrument, which is named by its listing."""

    def __init__(self, venue: IbVenue) -> None:
        self._venue = venue

    def act(self, ts: int, name: str, arguments: dict[str, Any]) -> None:
        """Raises ValueError for a name or arguments that it does not know."""
        deed = getattr(self, f"_do_{name}", None)
        if deed is None:
            known = sorted(each.removeprefix("_do_") for each in dir(self) if each.startswith("_do_"))
            raise ValueError(f"nothing here is called {name!r}; there are {', '.join(known)}")
        try:
            deed(ts, **arguments)
        except (TypeError, KeyError) as error:
            raise ValueError(f"{name}: {error}") from None
        except Refused as refusal:
            raise ValueError(f"{name}: refused: {refusal}") from None

    def _listing(self, name: str) -> Listing:
        return self._venue.exchange.listings[name]

    def _account(self, name: str) -> Account:
        return self._venue.exchange.accounts[name]

    def _order(self, venue_order_id: str) -> Order:
        for order in self._venue.exchange.orders.values():
            if order.tag is not None and str(answers.ticket_of(order).perm_id) == venue_order_id:
                return order
        raise ValueError(f"there is no order {venue_order_id!r}")

    # The market.

    def _do_trade(self, ts: int, listing: str, side: str, qty: int) -> None:
        """Somebody takes from the book."""
        self._venue.exchange.crowd_market(ts, self._listing(listing), Side[side], qty)

    def _do_quote(self, ts: int, listing: str, side: str, price: int, qty: int) -> None:
        self._venue.exchange.crowd_limit(ts, self._listing(listing), Side[side], price, qty)

    def _do_hit(self, ts: int, venue_order_id: str, qty: int) -> None:
        """Somebody trades against this order."""
        self._venue.exchange.hit(ts, self._order(venue_order_id), qty)

    def _do_print(self, ts: int, listing: str, side: str, price: int, qty: int) -> None:
        self._venue.exchange.print_elsewhere(ts, self._listing(listing), Side[side], price, qty)

    def _do_halt(self, ts: int, listing: str) -> None:
        self._venue.exchange.halt(ts, self._listing(listing))
        self._tell_status(ts, listing)

    def _do_open(self, ts: int, listing: str) -> None:
        self._venue.exchange.open(ts, self._listing(listing))
        self._tell_status(ts, listing)

    def _do_close(self, ts: int, listing: str) -> None:
        self._venue.exchange.close(ts, self._listing(listing))

    def _tell_status(self, ts: int, listing: str) -> None:
        for client in self._venue.clients.values():
            for asked in client.market.values():
                if asked.listing is self._listing(listing):
                    for payload in self._venue.market.halted(asked):
                        self._venue.say(client, payload, ts)

    def _do_end_of_day(self, ts: int) -> None:
        self._venue.exchange.end_of_day(ts)

    # The account.

    def _do_manual_order(self, ts: int, account: str, listing: str, side: str, qty: int, price: int | None = None) -> None:
        kind = OrderType.MARKET if price is None else OrderType.LIMIT
        new = NewOrder(side=Side[side], qty=qty, price=price, order_type=kind)
        self._venue.exchange.manual(ts, self._account(account), self._listing(listing), new)

    def _do_manual_cancel(self, ts: int, venue_order_id: str) -> None:
        self._venue.exchange.cancel(ts, self._order(venue_order_id), "by hand")

    def _do_liquidate(self, ts: int, account: str, listing: str) -> None:
        self._venue.exchange.force(ts, self._account(account), self._listing(listing), "liquidation")

    def _do_bust(self, ts: int, number: int) -> None:
        fill = next(each for each in self._venue.exchange.fills if each.number == number)
        self._venue.exchange.bust(ts, fill)

    def _do_correct(self, ts: int, number: int, price: int) -> None:
        fill = next(each for each in self._venue.exchange.fills if each.number == number)
        self._venue.exchange.correct(ts, fill, price)

    def _do_adjust(self, ts: int, account: str, currency: str, amount: int) -> None:
        self._venue.exchange.adjust(ts, self._account(account), currency, amount)

    def _do_split(self, ts: int, listing: str, numerator: int, denominator: int) -> None:
        self._venue.exchange.split(ts, self._listing(listing), numerator, denominator)

    # The gateway.

    def _tell_all(self, ts: int, code: int, text: str) -> None:
        for client in self._venue.clients.values():
            if client.is_started:
                self._venue.say(client, answers.error(client.version, -1, code, text), ts)

    def _do_lose_servers(self, ts: int) -> None:
        """1100: the gateway stays, what it hears is nothing."""
        self._venue.is_away = True
        self._venue.desk.is_told = False
        self._tell_all(ts, 1100, LOST)

    def _do_restore_servers(self, ts: int, is_data_lost: bool = False) -> None:
        """1102, or 1101: what was subscribed to is forgotten."""
        # Nothing of what happened meanwhile is told but to who asks.
        self._venue.desk.tell(ts)
        self._venue.is_away = False
        self._venue.desk.is_told = True
        if is_data_lost:
            for client in self._venue.clients.values():
                client.market.clear()
        self._tell_all(ts, 1101 if is_data_lost else 1102, RESTORED_EMPTY if is_data_lost else RESTORED)

    def _do_break_farm(self, ts: int) -> None:
        self._tell_all(ts, 2103, FARM_BROKEN)

    def _do_restart(self, ts: int, loses_orders: bool = False, counts_again: bool = False) -> None:
        """The daily reset: every connection ends. `loses_orders`: they are gone without a word; `counts_again`: order ids too."""
        venue = self._venue
        if loses_orders:
            orders = [order for account in venue.exchange.accounts.values() for order in venue.exchange.open_orders(account)]
            venue.exchange.lose(ts, orders)
        if counts_again:
            venue.desk.next_order_id = 1
        venue.cut_all(ts)
