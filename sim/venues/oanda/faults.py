"""What the simulated OANDA does wrong, by the numbers of the fault catalogue, and how it shows on the wire. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from core.units import NS_PER_SECOND
from sim.venues.faults import Faults
from sim.venues.protocol import HttpReply

KNOWN: dict[int, str] = {
    1: "the connection is cut before the request is read",
    2: "done, and the connection is cut before the answer",
    3: "done, and the connection is cut in the middle of the answer",
    4: "503, and it is done",
    5: "503, and nothing is done",
    8: "504 in HTML from a gateway, and it is done",
    9: "the right status with an empty body, and it is done",
    10: "done, and the answer comes 60 s late",
    11: "done, and the answer says CLIENT_ORDER_ID_ALREADY_EXISTS",
    14: "400 with an error code that nobody documents, and nothing is done",
    15: "201 with an error inside, and nothing is done",
    20: "one look at the account shows no orders",
    22: "a transaction comes twice on the stream",
    24: "the stream tells it, the answer comes a second later",
    29: "a cancel is answered as done and never is",
    35: "two transactions change places on the stream",
    37: "429, every other time with Retry-After",
    39: "403 in HTML from a firewall",
    40: "the answer takes three seconds",
    41: "the stream falls silent for good, its connection stays",
    42: "the stream leaves a transaction out; its heartbeats go on",
    43: "the stream's connection is cut",
    49: "an old price under a new time",
    50: "crossed prices",
    51: "a price comes again, behind a newer one",
    54: "a price that is no number",
    55: "a line with a key twice",
    56: "liquidity beyond 2^53",
    57: "prices may have one decimal less from now on",
    61: "the token is not taken",
    62: "503: maintenance, and nothing is done",
    69: "the token opens an account of the other environment",
}
# Why the others cannot be; a drill says it.
NOT_SHOWN: dict[int, str] = {
    6: "one text for its 503: numbers 4 and 5 are it with the order and without",
    7: "no code of its own says that a request ran out of time",
    12: "an id is taken again once its order no longer waits: it guards against nothing, and no order is sent twice",
    13: "an id of an order that waits is refused: number 11",
    16: "no batches are sent",
    17: "a replacement is one transaction's deed: both halves are done, or neither",
    18: "a redirection is no documented answer: whatever is not documented is unknown, as number 14 shows",
    19: "a dealer has no post-only orders",
    21: "transactions are kept from the account's first one on",
    23: "a fill is a transaction, and has one number",
    25: "a cancel is a transaction: what is filled behind it has a later number, of another order",
    26: "it comes by itself: tests/adapters/oanda/test_life.py",
    27: "it comes by itself: tests/adapters/oanda/test_faults.py",
    28: "it comes by itself: tests/adapters/oanda/test_faults.py",
    30: "trades are not busted by a transaction",
    31: "more than was asked for cannot be dealt in",
    32: "commission is in the fill, in the account's currency",
    33: "no brackets are sent",
    34: "a number that has ended does not begin again",
    36: "it comes by itself: tests/adapters/oanda/test_faults.py",
    38: "a ban has no code of its own",
    44: "streams are HTTP: number 43 cuts one, 37 and 62 refuse the next",
    45: "streams are HTTP: numbers 1, 39 and 62 are their handshake's",
    46: "requests are counted each second, and 429 costs nothing but time: number 37",
    47: "orders stay where a connection is lost",
    48: "there is no dead-man switch",
    52: "prices have no checksum: each stands for itself",
    53: "prices are whole: no picture has to be joined with changes",
    59: "no balance is read",
    63: "no limit-up limit-down: number 62 halts",
    66: "currencies have no splits; dividends of CFDs: tests/adapters/oanda/test_cash.py",
    67: "17:00 in New York: tests/adapters/oanda/test_life.py; a rehearsal's venue never closes",
    68: "17:00 in New York: tests/adapters/oanda/test_cash.py",
}
LATE_NS = 60 * NS_PER_SECOND
SLOW_NS = 3 * NS_PER_SECOND
STREAM_FIRST_NS = NS_PER_SECOND
HTML = (("Content-Type", "text/html"),)
_GATEWAY = b"<html><head><title>504 Gateway Time-out</title></head><body>504</body></html>"
_FIREWALL = b"<html><head><title>403 Forbidden</title></head><body>Request blocked.</body></html>"
# At 1 to 15 only where orders are placed, changed or canceled; the others at any request.
_INSTEAD = (1, 5, 14, 15, 37, 39, 61, 62)


def instead(faults: Faults, *, changes: bool, creates: bool) -> HttpReply | None:
    """What goes wrong before anything is done; None: nothing. `creates`: an order would be made."""
    for number in _INSTEAD:
        if number in (1, 5, 14) and not changes:
            continue
        if number == 15 and not creates:
            continue
        if faults.fires(number):
            return _instead(faults, number)
    return None


def _instead(faults: Faults, number: int) -> HttpReply:
    match number:
        case 1:
            return HttpReply(bytes_max=0, closes=True)
        case 14:
            return refusal(400, "It is the wrong kind of Tuesday", "TUESDAY_EXCEEDED")
        case 15:
            return refusal(201, "The order could not be created", "INTERNAL_SERVER_ERROR")
        case 37:
            headers = (("Retry-After", "1"),) if faults.fired[37] % 2 else ()
            return refusal(429, "Rate limit exceeded", headers=headers)
        case 39:
            return HttpReply(status=403, headers=HTML, body=_FIREWALL)
        case 61:
            return refusal(401, "Insufficient authorization to perform request.")
        case 62:
            return refusal(503, "The service is unavailable due to maintenance")
        case _:
            return refusal(503, "An internal server error occurred")


def afterwards(faults: Faults, reply: HttpReply, *, creates: bool) -> HttpReply:
    """What goes wrong with the answer to something that was done."""
    changes: tuple[tuple[int, Callable[[], HttpReply]], ...] = (
        (2, lambda: HttpReply(bytes_max=0, closes=True)),
        (3, lambda: _replaced(reply, bytes_max=max(len(reply.body) // 2, 1), closes=True)),
        (4, lambda: refusal(503, "An internal server error occurred")),
        (8, lambda: HttpReply(status=504, headers=HTML, body=_GATEWAY)),
        (9, lambda: _replaced(reply, body=b"")),
        (10, lambda: _replaced(reply, delay_ns=LATE_NS)),
        (24, lambda: _replaced(reply, delay_ns=STREAM_FIRST_NS)),
        (40, lambda: _replaced(reply, delay_ns=SLOW_NS)),
    )
    for number, made in changes:
        if faults.fires(number):
            return made()
    if creates and faults.fires(11):
        return refusal(400, "The order id is in use", "CLIENT_ORDER_ID_ALREADY_EXISTS")
    return reply


def price_line(faults: Faults, price: dict[str, Any], before: bytes) -> list[bytes]:
    """The line of a price, or what comes in its place; `before` is the line before it of the same instrument."""
    if faults.fires(49) and before:
        return [line(json.loads(before) | {"time": price["time"]})]
    if faults.fires(50):
        price = price | {"bids": price["asks"], "asks": price["bids"]}
    if faults.fires(51) and before:
        return [line(price), before]
    if faults.fires(54):
        price = price | {"bids": [{"price": "NaN", "liquidity": 1_000_000}]}
    if faults.fires(55):
        return [b'{"type":"PRICE","type":"PRICE",' + line(price)[1:]]
    if faults.fires(56):
        price = price | {"asks": [{**price["asks"][0], "liquidity": (1 << 53) + 1}]}
    return [line(price)]


def line(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def refusal(status: int, text: str, code: str = "", *, headers: tuple[tuple[str, str], ...] = ()) -> HttpReply:
    body = {"errorMessage": text} | ({"errorCode": code} if code else {})
    return HttpReply(status=status, headers=(("Content-Type", "application/json"), *headers), body=json.dumps(body).encode())


def _replaced(
    reply: HttpReply, *, body: bytes | None = None, bytes_max: int | None = None, closes: bool = False, delay_ns: int = 0
) -> HttpReply:
    return HttpReply(
        status=reply.status,
        headers=reply.headers,
        body=reply.body if body is None else body,
        bytes_max=bytes_max,
        closes=closes,
        delay_ns=delay_ns,
    )
