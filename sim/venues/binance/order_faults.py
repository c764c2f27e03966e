"""What goes wrong with requests at the simulated Binance: the connection, the answer, and orders and cancels themselves."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from core.units import NS_PER_MS, NS_PER_SECOND
from sim.venues.binance.desk import Call, Desk
from sim.venues.binance.markets import Product
from sim.venues.binance.orders import Texts, is_conditional, spot_canceled, usdm_order
from sim.venues.binance.routes import Purpose, Route
from sim.venues.binance.wire import ApiError, encode
from sim.venues.exchange.exchange import replaced_rules
from sim.venues.exchange.model import Order, Refused
from sim.venues.protocol import HttpReply, HttpRequest

Answer = Callable[[], HttpReply]

LATE_ANSWER_NS = 60 * NS_PER_SECOND
SLOW_ANSWER_NS = 8 * NS_PER_SECOND
BEHIND_EVENTS_NS = 50 * NS_PER_MS
LATE_FILL_NS = 300 * NS_PER_MS
UNKNOWN_CODE = -9999
HTML = ("Content-Type", "text/html")
JSON = ("Content-Type", "application/json;charset=UTF-8")
FIREWALL = b"<html><head><title>403 Forbidden</title></head><body><center><h1>403 Forbidden</h1></center></body></html>"
TIMED_OUT = b"<html><head><title>504 Gateway Time-out</title></head><body></body></html>"
BAD_GATEWAY = b"<html><head><title>502 Bad Gateway</title></head><body></body></html>"
UNKNOWN_503 = "Unknown error, please check your request or try again later."
UNAVAILABLE_503 = "Service Unavailable."
INTERNAL_503 = "Internal error; unable to process your request. Please try again."
STATUS_UNKNOWN = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
DUPLICATES = {Product.SPOT: (-2010, "Duplicate order sent."), Product.USDM: (-4116, "ClientOrderId is duplicated.")}


def _json(status: int, code: int, text: str, *headers: tuple[str, str]) -> HttpReply:
    return HttpReply(status=status, body=encode({"code": code, "msg": text}), headers=(JSON, *headers))


def _html(status: int, body: bytes) -> HttpReply:
    return HttpReply(status=status, body=body, headers=(HTML,))


class FakedCancel(ApiError):
    """An answer that says 200 without anything having been done."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(0, "", 200)
        self.answer = answer

    def body(self) -> bytes:
        return self.answer


class OrderFaults:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._faults = desk.faults

    def around(self, ts: int, route: Route, request: HttpRequest, answer: Answer) -> HttpReply:
        """The honest answer, or what becomes of the request and of it."""
        if route.public is not None or request.headers.get("x-mbx-apikey") not in self._desk.clients:
            return answer()
        throttled = self._throttled(ts, route)
        if throttled is not None:
            return throttled
        if route.purpose is Purpose.READ:
            return answer()
        before = self._before(answer)
        return before if before is not None else self._behind(route, answer())

    def _throttled(self, ts: int, route: Route) -> HttpReply | None:
        faults = self._faults
        if faults.fires(37):
            retry = (("Retry-After", "2"),) if faults.random.below(2) else ()
            return _json(429, -1003, "Too many requests.", *retry)
        if route.purpose is Purpose.CANCEL and faults.fires(38):
            self._desk.meters.ban(ts)
            return _json(418, -1003, "Way too much request weight used; IP banned.", ("Retry-After", "120"))
        if faults.fires(39):
            return _html(403, FIREWALL)
        return None

    def _before(self, answer: Answer) -> HttpReply | None:
        """What happens to an order request instead of its being answered; None: nothing."""
        faults, chance = self._faults, self._faults.random
        if faults.fires(1):
            return HttpReply(bytes_max=0)
        if faults.fires(5):
            return _json(500, -1000, "An unknown error occurred while processing the request.")
        if faults.fires(6):
            text = (UNKNOWN_503, INTERNAL_503, UNAVAILABLE_503)[chance.below(3 if self._desk.product is Product.USDM else 2)]
            if text == UNKNOWN_503:
                answer()
            return _json(503, -1000, text)
        if faults.fires(8):
            if chance.below(2):
                answer()
            return _html((504, 408)[chance.below(2)], TIMED_OUT)
        if faults.fires(14):
            if chance.below(2):
                answer()
            return _json(400, UNKNOWN_CODE, "a new kind of trouble")
        if faults.fires(15):
            return _json(200, -2010, "NEW_ORDER_REJECTED")
        return None

    def _behind(self, route: Route, reply: HttpReply) -> HttpReply:
        """What becomes of the answer to an order request that was done."""
        if reply.status != 200:
            return reply
        faults = self._faults
        if faults.fires(2):
            return msgspec.structs.replace(reply, bytes_max=0)
        if faults.fires(3):
            return msgspec.structs.replace(reply, bytes_max=200 + len(reply.body) // 2)
        if faults.fires(4):
            return _html(502, BAD_GATEWAY)
        if faults.fires(7):
            return _json(504, -1007, STATUS_UNKNOWN)
        if faults.fires(9):
            body = (b"", b"{}", b"[]", b"null", b'{"code":200}')[faults.random.below(5)]
            return msgspec.structs.replace(reply, body=body)
        if faults.fires(10):
            return msgspec.structs.replace(reply, delay_ns=LATE_ANSWER_NS)
        if faults.fires(40):
            return msgspec.structs.replace(reply, delay_ns=SLOW_ANSWER_NS)
        if route.purpose is Purpose.PLACE and faults.fires(11):
            return _json(400, *DUPLICATES[self._desk.product])
        if faults.fires(24):
            return msgspec.structs.replace(reply, delay_ns=BEHIND_EVENTS_NS)
        return reply

    # Orders and cancels themselves.

    def before_order(self, call: Call) -> None:
        """Raises ApiError where the order comes too late for its rules."""
        desk, faults = self._desk, self._faults
        market = desk.markets.get(call.params.get("symbol"))
        if market is None:
            return
        if faults.fires(62):
            is_spot = desk.product is Product.SPOT
            raise ApiError(*((-1013, "Market is closed.") if is_spot else (-4140, "Invalid symbol status for opening position.")))
        if faults.fires(57):
            desk.exchange.set_rules(market.listing, replaced_rules(market.listing, tick=market.rules.tick * 7))
        desk.set_paying_bnb(faults.fires(32))

    def before_cancel(self, call: Call) -> None:
        """What happens to the order meanwhile. Raises ApiError, or FakedCancel that looks like success."""
        desk, faults = self._desk, self._faults
        order = self._named(call)
        if order is None or not order.is_open or is_conditional(order):
            return
        if faults.fires(27):
            self._hit(call.ts, order, order.leaves_qty)
            raise ApiError(-2011, "Unknown order sent.")
        if faults.fires(31):
            price = order.price if order.price is not None else order.listing.reference
            self._hit(call.ts, order, order.leaves_qty)
            desk.exchange.overfill(call.ts, order, order.listing.rules.qty_min, price)
            raise ApiError(-2011, "Unknown order sent.")
        if faults.fires(29):
            raise FakedCancel(self._as_canceled(order, desk.texts[order.listing.name]))
        is_late = faults.fires(25)
        if is_late or faults.fires(26):
            half = order.leaves_qty // 2 // order.listing.rules.lot * order.listing.rules.lot
            if half:
                self._hit(call.ts, order, half)
                if is_late:
                    desk.collect(call.ts)
                    for one in desk.told:
                        one.ts += LATE_FILL_NS

    def _named(self, call: Call) -> Order | None:
        params = call.params
        if not (params.get("orderId") or params.get("origClientOrderId")) or not params.get("symbol"):
            return None
        return self._desk.find(call, "orderId", "origClientOrderId")

    def _hit(self, ts: int, order: Order, qty: int) -> None:
        try:
            self._desk.exchange.hit(ts, order, qty)
        except Refused:
            return  # it waits for a session to open, so nobody can have traded with it

    def _as_canceled(self, order: Order, texts: Texts) -> bytes:
        if self._desk.product is Product.SPOT:
            found = spot_canceled(texts, order) | {"status": "CANCELED", "clientOrderId": self._desk.own_id()}
        else:
            found = usdm_order(texts, order, is_answer=True) | {"status": "CANCELED"}
        return encode(found)
