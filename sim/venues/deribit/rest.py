"""The same methods by HTTP: the WebSocket's opening request, and GET or POST of /api/v2/METHOD. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from core.units import NS_PER_MS
from sim.venues.deribit.connection import Connection
from sim.venues.deribit.methods import CLOCK_DIFFERENCE_MS_MAX
from sim.venues.deribit.wire import Params, RpcError, read_request, refusal
from sim.venues.protocol import HttpReply, HttpRequest

if TYPE_CHECKING:
    from sim.venues.deribit.venue import DeribitVenue

WEBSOCKET_PATHS = ("/ws/api/v2", "/ws/api/v2/")
PREFIX = "/api/v2/"
JSON = (("content-type", "application/json"),)
HTML = (("content-type", "text/html"),)
BLOCKED = b"<html><head><title>403 Forbidden</title></head><body><h1>Request blocked</h1></body></html>"
TOKEN_IS_FOR_EVER = 1 << 62
RETRY_AFTER_S = 2

_AUTHORIZATION = re.compile(r"deri-hmac-sha256 id=([^,]*),\s*ts=(\d+),\s*sig=([0-9a-f]+),\s*nonce=([^,]*)\Z")


def serve(venue: DeribitVenue, ts: int, connection: Connection, request: HttpRequest) -> HttpReply:
    if request.headers.get("upgrade", "").lower() == "websocket":
        return _open_websocket(venue, request)
    if not request.path.startswith(PREFIX):
        return HttpReply(status=404, body=b"not found")
    return _call(venue, ts, connection, request)


def _open_websocket(venue: DeribitVenue, request: HttpRequest) -> HttpReply:
    faults = venue.faults
    if request.path not in WEBSOCKET_PATHS:
        return HttpReply(status=404, body=b"not found")
    if faults.fires(45):
        return HttpReply(bytes_max=0, closes=True)
    if faults.fires(37):
        return HttpReply(status=429, headers=(("retry-after", str(RETRY_AFTER_S)),), closes=True)
    if faults.fires(39):
        return HttpReply(status=403, headers=HTML, body=BLOCKED, closes=True)
    if faults.fires(8):
        return HttpReply(status=504, headers=HTML, body=b"<html><h1>504 Gateway Time-out</h1></html>", closes=True)
    if faults.fires(18):
        # To a place that speaks no WebSocket: whoever follows is lost there.
        return HttpReply(status=301, headers=(("location", "http://127.0.0.1:9/moved"),), closes=True)
    if faults.fires(6):
        return HttpReply(status=503, headers=HTML, body=b"<html>Service Unavailable</html>", closes=True)
    return HttpReply(status=101)


def _call(venue: DeribitVenue, ts: int, connection: Connection, request: HttpRequest) -> HttpReply:
    us_in = ts // 1_000
    request_id: int | None = None
    # A request of its own: nothing of one HTTP call is there at the next.
    asking = Connection(connection.number, ts, ts, token_until_ts=TOKEN_IS_FOR_EVER)
    try:
        if request.method == "POST":
            request_id, method, params = read_request(request.body)
        else:
            method = request.path.removeprefix(PREFIX)
            params = Params(dict(parse_qsl(request.query, keep_blank_values=True)), is_text=True)
        if method.startswith("private/"):
            _log_in(venue, ts, asking, request)
    except RpcError as error:
        body = refusal(request_id, error, us_in, us_in, venue.is_testnet)
        return HttpReply(status=400, headers=JSON, body=body)
    answered, is_last = venue.call(ts, asking, request_id, method, params, us_in)
    venue.publish(ts)
    is_refused = answered is not None and b'"error":' in answered[:60]
    return HttpReply(status=400 if is_refused else 200, headers=JSON, body=answered or b"", closes=is_last)


def _log_in(venue: DeribitVenue, ts: int, asking: Connection, request: HttpRequest) -> None:
    """deri-hmac-sha256 (documented): the signature is over stamp, nonce, method, target and body, one a line."""
    found = _AUTHORIZATION.match(request.headers.get("authorization", ""))
    key = venue.keys.get(found[1]) if found else None
    if found is None or key is None:
        raise RpcError(13009, "unauthorized", {"reason": "invalid_authorization"})
    target = request.path + (f"?{request.query}" if request.query else "")
    text = f"{found[2]}\n{found[4]}\n{request.method}\n{target}\n{request.body.decode('utf-8', 'replace')}\n"
    expected = hmac.new(key.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, found[3]):
        raise RpcError(13004, "invalid_credentials")
    if abs(int(found[2]) - ts // NS_PER_MS) > CLOCK_DIFFERENCE_MS_MAX:
        raise RpcError(13004, "invalid_credentials", {"reason": "timestamp"})
    asking.account = key.account
