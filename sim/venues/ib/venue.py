"""The simulated gateway: connections, the handshake, requests and what they are answered with. Pure (sim/venues/protocol.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from core.units import NS_PER_SECOND, format_fixed
from sim.venues.exchange.crowd import Crowd
from sim.venues.exchange.exchange import Exchange
from sim.venues.exchange.model import Order
from sim.venues.faults import Faults
from sim.venues.ib import answers, requests
from sim.venues.ib.answers import ticket_of
from sim.venues.ib.client import Client, Subscribed
from sim.venues.ib.deeds import Deeds
from sim.venues.ib.listed import contract_of, details, matching
from sim.venues.ib.market import DEPTH_ROWS_MAX, MarketData
from sim.venues.ib.trading import LATE_NS, OrderDesk
from sim.venues.ib.wire import VERSION_MAX, VERSION_MIN, BrokenError, Reader, fields_of, frame, versions_of
from sim.venues.protocol import HttpReply, HttpRequest, Outgoing

MASTER_CLIENT_ID = 11
FARMS = ((2104, "Market data farm connection is OK:usfuture"), (2106, "HMDS data farm connection is OK:ushmds"))
EXECUTIONS_DAY_NS = 86_400 * NS_PER_SECOND
# What a gateway's system finds by bytes that nobody acknowledges: here who says nothing for so long may be gone, and is, where
# somebody comes by the same client id.
DEAD_PEER_NS = 20 * NS_PER_SECOND
TICK_BY_TICK_MAX = 10  # at once for a login; error 10190 beyond


class IbVenue:
    """`rules`: market rules by number. `version_max`: of the gateway. `accounts` are those that the login manages."""

    wire: Literal["http", "tcp"] = "tcp"

    def __init__(
        self,
        exchange: Exchange,
        *,
        faults: Faults,
        rules: dict[int, tuple[tuple[str, str], ...]],
        crowd: Crowd | None,
        version_max: int = VERSION_MAX,
        master: int = MASTER_CLIENT_ID,
    ) -> None:
        self.exchange = exchange
        self.faults = faults
        self._misstated: set[tuple[str, str]] = set()  # positions that the last answer was wrong about
        self.rules = rules
        self.crowd = crowd
        self.version_max = version_max
        self.clients: dict[int, Client] = {}
        self.is_away = False  # from its servers
        self.desk = OrderDesk(exchange, faults, self.say, lambda: list(self.clients.values()), master)
        self.market = MarketData(exchange, faults)
        self.deeds = Deeds(self)
        self._out: list[Outgoing] = []
        self._wrong_position = 0
        self._day = -1
        self._handlers: dict[int, Callable[[int, Client, Reader], None]] = {
            1: self._market_data,
            2: self._stop_market,
            3: self._place,
            4: self._cancel,
            5: self._own_orders,
            6: self._account_updates,
            7: self._executions,
            8: self._ids,
            9: self._contract_details,
            10: self._depth,
            11: self._stop_market_depth,
            14: self._nothing,
            15: self._nothing,
            16: self._open_orders,
            17: self._managed,
            20: self._bars,
            25: self._nothing,
            49: self._time,
            58: self._global_cancel,
            59: self._data_type,
            61: self._positions,
            62: self._summary,
            63: self._nothing,
            64: self._stop_positions,
            71: self._start,
            76: self._account_multi,
            77: self._nothing,
            91: self._market_rule,
            97: self._ticks,
            98: self._stop_market_ticks,
            99: self._completed,
        }

    # SimVenue.

    def connected(self, ts: int, connection: int) -> None:
        self.clients[connection] = Client(connection)
        if self.faults.fires(45):
            self._close(ts, connection)

    def http(self, ts: int, connection: int, request: HttpRequest) -> HttpReply:
        raise AssertionError("a gateway speaks no HTTP")

    def receive(self, ts: int, connection: int, payload: str | bytes) -> None:
        client = self.clients.get(connection)
        if client is None or client.is_frozen or isinstance(payload, str):
            return
        client.heard_ts = ts
        try:
            for message in client.inbound.receive(payload):
                if connection not in self.clients or client.is_frozen:
                    return
                self._request(ts, client, message)
        except BrokenError as error:
            if client.version:
                self.say(client, answers.error(client.version, -1, 508, f"Bad message: {error}"), ts)
            self._close(ts, connection)
        self._follow(ts)

    def disconnected(self, ts: int, connection: int) -> None:
        self.clients.pop(connection, None)

    def next_ts(self) -> int | None:
        due = [
            each
            for each in (self.exchange.next_expiry(), None if self.crowd is None else self.crowd.next_ts())
            if each is not None
        ]
        return min(due, default=None)

    def advance(self, ts: int) -> None:
        if self.crowd is not None:
            self.crowd.advance(ts)
        self.exchange.expire(ts)
        self._follow(ts)

    def take(self) -> list[Outgoing]:
        out, self._out = self._out, []
        return out

    def act(self, ts: int, name: str, arguments: dict[str, Any]) -> None:
        self.deeds.act(ts, name, arguments)
        self._follow(ts)

    def ledger(self) -> dict[str, Any]:
        """No order here is said to reduce only: `reduce_only` says whether it could do no more when it came in."""
        ledger = self.exchange.ledger(_venue_order_id, _trade_id)
        for row, order in zip(ledger["orders"], self.exchange.orders.values(), strict=True):
            row["reduce_only"] = order.tag is not None and ticket_of(order).only_reduces
        return ledger

    # What leaves.

    def say(self, client: Client, payload: bytes, ts: int) -> None:
        self._out.append(Outgoing(ts, client.number, payload))

    def _close(self, ts: int, connection: int) -> None:
        self.clients.pop(connection, None)
        self._out.append(Outgoing(ts, connection, None))

    def cut_all(self, ts: int) -> None:
        for connection in list(self.clients):
            self._close(ts, connection)

    def _follow(self, ts: int) -> None:
        """Tell what has changed: orders first, then the market, then positions."""
        self.desk.tell(ts)
        touched, prints = self.exchange.take_touched(), self.exchange.take_prints()
        if self.is_away:
            return
        for client in list(self.clients.values()):
            for asked in list(client.market.values()):
                if client.is_frozen:
                    continue
                if asked.listing in touched and asked.kind != "prints":
                    for payload in self.market.update(ts, asked):
                        self.say(client, payload, ts)
                for trade in prints:
                    if trade.listing is asked.listing:
                        for payload in self.market.printed(ts, asked, trade):
                            self.say(client, payload, ts)
            if prints and client.wants_positions:
                self._say_positions(ts, client, only={trade.listing.name for trade in prints})

    # Requests.

    def _request(self, ts: int, client: Client, payload: bytes) -> None:
        if not client.version:
            low, high = versions_of(payload)
            client.version = min(high, self.version_max)
            if client.version < max(low, VERSION_MIN):
                self._close(ts, client.number)
                return
            self.say(client, frame(client.version, f"{answers.stamp(ts)[:17]} EST"), ts)
            return
        if client.is_too_fast(ts) or self.faults.fires(37):
            self.say(client, answers.error(client.version, -1, 100, "Max rate of messages per second has been exceeded"), ts)
            self._close(ts, client.number)
            return
        read = Reader(fields_of(payload))
        number = read.number()
        handler = self._handlers.get(number)
        if handler is None or (not client.is_started and number != 71):
            self.say(client, answers.error(client.version, -1, 505, f"Fatal Error: Unknown message id {number}"), ts)
            return
        handler(ts, client, read)

    def _start(self, ts: int, client: Client, read: Reader) -> None:
        read.number()
        client.client_id = read.number()
        read.text()
        if self.faults.fires(44):
            self._close(ts, client.number)
            return
        taken = False
        for other in list(self.clients.values()):
            if other is client or other.client_id != client.client_id:
                continue
            if ts - other.heard_ts > DEAD_PEER_NS:
                self._close(ts, other.number)
            else:
                taken = True
        if taken or self.faults.fires(61):
            text = "Unable to connect as the client id is already in use. Retry with a unique client id."
            self.say(client, answers.error(client.version, -1, 326, text), ts)
            self._close(ts, client.number)
            return
        client.is_started = True
        self._managed(ts, client, read)
        self._ids(ts, client, read)
        for code, text in FARMS:
            self.say(client, answers.error(client.version, -1, code, text), ts)
        if self.is_away:
            self.say(
                client,
                answers.error(client.version, -1, 1100, "Connectivity between IBKR and Trader Workstation has been lost."),
                ts,
            )

    def _managed(self, ts: int, client: Client, _read: Reader) -> None:
        names = "U1234567" if self.faults.fires(69) else ",".join(self.exchange.accounts)
        self.say(client, frame(15, 1, names), ts)

    def _ids(self, ts: int, client: Client, _read: Reader) -> None:
        self.say(client, frame(9, 1, self.desk.next_order_id), ts)

    def _time(self, ts: int, client: Client, _read: Reader) -> None:
        self.say(client, frame(49, 1, ts // NS_PER_SECOND), ts)

    def _nothing(self, _ts: int, _client: Client, _read: Reader) -> None:
        return

    def _contract_details(self, ts: int, client: Client, read: Reader) -> None:
        read.number()
        request, wanted = read.number(), requests.contract(read)
        found = matching(self.exchange.listings.values(), wanted)
        if not found:
            text = "No security definition has been found for the request"
            self.say(client, answers.error(client.version, request, 200, text), ts)
            return
        for listing in found:
            self.say(client, frame(*details(contract_of(listing), listing.rules, request, wanted.exchange)), ts)
        self.say(client, frame(52, 1, request), ts)

    def _market_rule(self, ts: int, client: Client, read: Reader) -> None:
        number = read.number()
        steps = self.rules.get(number)
        if steps is None:
            self.say(client, answers.error(client.version, -1, 321, "Error validating request:-'bY' : cause - Invalid rule"), ts)
            return
        self.say(client, frame(93, number, len(steps), *(text for step in steps for text in step)), ts)

    # Orders.

    def _place(self, ts: int, client: Client, read: Reader) -> None:
        faults = self.faults
        if faults.fires(1):
            self._close(ts, client.number)
            return
        placed = requests.placed(read, client.version)
        if self.is_away:
            self.say(client, answers.error(client.version, placed.order_id, 504, "Not connected"), ts)
            return
        begun = len(self._out)
        order = self.desk.place(ts, client, placed)
        self.desk.tell(ts)
        if order is not None and faults.fires(14):
            text = "Order message error: this code is in no table"
            self.say(client, answers.error(client.version, placed.order_id, 10999, text), ts)
        self._spoil(ts, client, begun)

    def _spoil(self, ts: int, client: Client, begun: int) -> None:
        """What goes wrong with an order's answers, which are those since `begun`."""
        faults = self.faults
        mine = [each for each in self._out[begun:] if each.connection == client.number and each.payload is not None]
        if not mine:
            return
        first = mine[0].payload
        assert isinstance(first, bytes)
        if faults.fires(2):
            self._out[begun:] = [each for each in self._out[begun:] if each.connection != client.number]
            self._close(ts, client.number)
        elif faults.fires(3):
            self._out[begun:] = [each for each in self._out[begun:] if each.connection != client.number]
            self.say(client, first[: len(first) // 2], ts)
            self._close(ts, client.number)
        elif faults.fires(9):
            self._out[begun:] = [each for each in self._out[begun:] if each.connection != client.number]
            self.say(client, frame(5, "x", "", "?"), ts)
        elif faults.fires(55):
            self._out[begun:] = [each for each in self._out[begun:] if each.connection != client.number]
            self.say(client, b"\x7f\xff\xff\xff", ts)
        elif faults.fires(10):
            self._out[begun:] = [
                msgspec.structs.replace(each, ts=each.ts + LATE_NS) if each.connection == client.number else each
                for each in self._out[begun:]
            ]
        elif faults.fires(24):
            self._out[begun:] = sorted(self._out[begun:], key=lambda each: not _is_execution(each))
        elif faults.fires(41):
            client.is_frozen = True
            self._out[begun:] = [each for each in self._out[begun:] if each.connection != client.number]
            self._out.append(Outgoing(ts, client.number, b"", freezes=True))

    def _cancel(self, ts: int, client: Client, read: Reader) -> None:
        read.number()
        if self.faults.fires(43):
            self._close(ts, client.number)
            return
        self.desk.cancel(ts, client, read.number())

    def _global_cancel(self, ts: int, _client: Client, _read: Reader) -> None:
        self.desk.cancel_everything(ts, "global cancel")

    def _open_orders(self, ts: int, client: Client, _read: Reader) -> None:
        """Those of every client, by hand too."""
        self._list_orders(ts, client, lambda _order: True)

    def _own_orders(self, ts: int, client: Client, _read: Reader) -> None:
        self._list_orders(ts, client, lambda order: ticket_of(order).client_id == client.client_id)

    def _list_orders(self, ts: int, client: Client, is_asked: Callable[[Order], bool]) -> None:
        orders = [order for account in self.exchange.accounts.values() for order in self.exchange.open_orders(account)]
        orders = [order for order in orders if is_asked(order)]
        if orders and self.faults.fires(20):
            orders.pop(0)
        for order in orders:
            self._say_order(ts, client, order)
        self.say(client, frame(53, 1), ts)

    def _say_order(self, ts: int, client: Client, order: Order) -> None:
        self.say(client, answers.open_order(order, client.version), ts)
        self.say(client, answers.order_status(order), ts)

    def _executions(self, ts: int, client: Client, read: Reader) -> None:
        read.number()
        request, _client_id, account = read.number(), read.number(), read.text()
        for fill in self.exchange.fills:
            is_asked = not account or fill.order.account.name == account
            if is_asked and not fill.is_busted and ts - fill.ts < EXECUTIONS_DAY_NS:
                self.say(client, answers.execution(fill, client.version, request), ts)
                self.say(client, self.desk.commission(fill), ts)
        self.say(client, frame(55, 1, request), ts)

    def _completed(self, ts: int, client: Client, _read: Reader) -> None:
        self.say(client, frame(102), ts)

    # The account.

    def _positions(self, ts: int, client: Client, _read: Reader) -> None:
        client.wants_positions = True
        self._say_positions(ts, client)
        self.say(client, frame(62, 1), ts)

    def _stop_positions(self, _ts: int, client: Client, _read: Reader) -> None:
        client.wants_positions = False

    def _say_positions(self, ts: int, client: Client, only: set[str] | None = None) -> None:
        for account in self.exchange.accounts.values():
            for name, held in account.positions.items():
                listing = self.exchange.listings[name]
                if (only is not None and name not in only) or (only is None and not held.qty):
                    continue
                known, rules = contract_of(listing), listing.rules
                qty = held.qty + (rules.lot if self._misstates(account.name, name) else 0)
                cost = abs(held.value_open) * 10**rules.qty_scale // abs(held.qty) if held.qty else 0
                text = rules.format_qty(qty)
                self.say(client, frame(61, 3, account.name, *known.fields(), text, format_fixed(cost, 8)), ts)

    def _misstates(self, account: str, name: str) -> bool:
        """Once: whoever asks again is told the truth."""
        if (account, name) in self._misstated:
            self._misstated.discard((account, name))
            return False
        if not self.faults.fires(59):
            return False
        self._misstated.add((account, name))
        return True

    def _account_updates(self, ts: int, client: Client, read: Reader) -> None:
        read.number()
        is_on, name = read.flag(), read.text()
        account = self.exchange.accounts.get(name or next(iter(self.exchange.accounts)))
        if not is_on or account is None:
            return
        for currency, amount in account.balances.items():
            self.say(client, frame(6, 2, "CashBalance", format_fixed(amount, 8), currency, account.name), ts)
        for listing_name, held in account.positions.items():
            listing = self.exchange.listings[listing_name]
            qty = listing.rules.format_qty(held.qty)
            known = contract_of(listing).fields()
            self.say(client, frame(7, 8, *known, qty, "0", "0", "0", "0", "0", account.name), ts)
        self.say(client, frame(8, 1, answers.stamp(ts)[9:14]), ts)
        self.say(client, frame(54, 1, account.name), ts)

    def _account_multi(self, ts: int, client: Client, read: Reader) -> None:
        read.number()
        request, name = read.number(), read.text()
        account = self.exchange.accounts.get(name or next(iter(self.exchange.accounts)))
        for currency, amount in account.balances.items() if account is not None else ():
            self.say(client, frame(73, 1, request, name, "", "CashBalance", format_fixed(amount, 8), currency), ts)
        self.say(client, frame(74, 1, request), ts)

    def _summary(self, ts: int, client: Client, read: Reader) -> None:
        read.number()
        request = read.number()
        for account in self.exchange.accounts.values():
            for currency, amount in account.balances.items():
                self.say(client, frame(63, 1, request, account.name, "TotalCashValue", format_fixed(amount, 8), currency), ts)
        self.say(client, frame(64, 1, request), ts)

    # Market data.

    def _data_type(self, _ts: int, client: Client, read: Reader) -> None:
        read.number()
        client.data_type = read.number()

    def _market_data(self, ts: int, client: Client, read: Reader) -> None:
        read.number()
        request, wanted = read.number(), requests.contract(read)
        if read.flag():
            read.texts(3)
        generic, is_snapshot = read.text(), read.flag()
        asked = self._subscribe(ts, client, request, "line", wanted)
        if asked is not None:
            asked.wants_volume = "233" in generic.split(",")
        if is_snapshot and asked is not None:
            del client.market[request]
            self.say(client, frame(57, 1, request), ts)

    def _ticks(self, ts: int, client: Client, read: Reader) -> None:
        request, wanted = read.number(), requests.contract(read)
        kind = {"BidAsk": "ticks", "Last": "prints", "AllLast": "prints"}.get(read.text())
        if kind is None or sum(each.kind in ("ticks", "prints") for each in client.market.values()) >= TICK_BY_TICK_MAX:
            text = "Max number of tick-by-tick requests has been reached."
            self.say(client, answers.error(client.version, request, 10190, text), ts)
            return
        self._subscribe(ts, client, request, kind, wanted)

    def _depth(self, ts: int, client: Client, read: Reader) -> None:
        read.number()
        request, wanted = read.number(), requests.contract(read)
        self._subscribe(ts, client, request, "depth", wanted, min(read.number(), DEPTH_ROWS_MAX))

    def _subscribe(
        self, ts: int, client: Client, request: int, kind: str, wanted: requests.Wanted, count: int = 0
    ) -> Subscribed | None:
        found = matching(self.exchange.listings.values(), wanted)
        if len(found) != 1 or request in client.market:
            code, text = (
                (200, "No security definition has been found for the request")
                if len(found) != 1
                else (102, "Duplicate ticker ID.")
            )
            self.say(client, answers.error(client.version, request, code, text), ts)
            return None
        asked = client.market[request] = Subscribed(request, kind, found[0], count)
        for payload in self.market.begin(ts, client, asked):
            self.say(client, payload, ts)
        if self.faults.fires(42):
            client.market.clear()
        return asked

    def _stop_market(self, _ts: int, client: Client, read: Reader) -> None:
        read.number()
        client.market.pop(read.number(), None)

    def _stop_market_depth(self, _ts: int, client: Client, read: Reader) -> None:
        read.number()
        client.market.pop(read.number(), None)

    def _stop_market_ticks(self, _ts: int, client: Client, read: Reader) -> None:
        client.market.pop(read.number(), None)

    def _bars(self, ts: int, client: Client, read: Reader) -> None:
        """Daily bars of what was traded here: one, of the last price."""
        request, wanted = read.number(), requests.contract(read)
        found = matching(self.exchange.listings.values(), wanted)
        if len(found) != 1:
            text = "No security definition has been found for the request"
            self.say(client, answers.error(client.version, request, 200, text), ts)
            return
        listing, day = found[0], answers.stamp(ts)[:8]
        price = listing.rules.format_price(listing.reference or listing.rules.tick)
        volume = sum(fill.qty for fill in self.exchange.fills if fill.order.listing is listing) // 10**listing.rules.qty_scale
        bars: list[object] = [day, price, price, price, price, volume, price, 1]
        self.say(client, frame(17, request, f"{day} 00:00:00", f"{day} 23:59:59", 1, *bars), ts)


def _is_execution(outgoing: Outgoing) -> bool:
    payload = outgoing.payload
    return isinstance(payload, bytes) and payload[4:7] == b"11\0"


def _venue_order_id(order: Order) -> str:
    return str(ticket_of(order).perm_id) if order.tag is not None else str(order.number)


def _trade_id(fill: Any) -> str:
    return answers.execution_id(fill).rpartition(".")[0]
