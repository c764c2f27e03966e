"""What a request says and whether it may: parameters, signatures, the clock, and the venue's errors as it words them."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from core.errors import UnitError
from core.units import NS_PER_MS, parse_fixed
from sim.venues.binance.markets import Client
from sim.venues.protocol import HttpRequest

RECV_WINDOW_MS, RECV_WINDOW_MS_MAX = 5000, 60_000
AHEAD_MS_MAX = 1000
_DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)
_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}", re.ASCII)

encode = msgspec.json.Encoder().encode


class ApiError(Exception):
    """An answer that is no success. `code` and text as the venue has them."""

    def __init__(self, code: int, text: str, status: int = 400, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.code, self.text, self.status, self.headers = code, text, status, headers
        super().__init__(text)

    def body(self) -> bytes:
        return encode({"code": self.code, "msg": self.text})


def missing(name: str) -> ApiError:
    return ApiError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def illegal(name: str, legal: str = r"^([0-9]{1,20})(\.[0-9]{1,20})?$") -> ApiError:
    return ApiError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


class Params:
    """The parameters of one request, texts by name. What is wrong with one is an ApiError."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values

    @classmethod
    def of(cls, request: HttpRequest) -> Params:
        return cls(_parsed([*request.query.split("&"), *request.body.decode("latin-1").split("&")]))

    def get(self, name: str, default: str = "") -> str:
        return self.values.get(name, default)

    def text(self, name: str) -> str:
        found = self.values.get(name, "")
        if not found:
            raise missing(name)
        return found

    def flag(self, name: str) -> bool:
        found = self.values.get(name, "false").lower()
        if found not in ("true", "false"):
            raise ApiError(-1130, f"Data sent for parameter '{name}' is not valid.")
        return found == "true"

    def integer(self, name: str, default: int | None = None, most: int = 2**63 - 1) -> int:
        found = self.values.get(name, "")
        if not found:
            if default is None:
                raise missing(name)
            return default
        if not (found.isascii() and found.isdecimal()) or int(found) > most:
            raise illegal(name, "^[0-9]{1,20}$")
        return int(found)

    def decimal(self, name: str, scale: int) -> int:
        """A number at a scale; ValueError's place is taken by the venue's errors for characters and precision."""
        found = self.text(name)
        if _DECIMAL.fullmatch(found) is None:
            raise illegal(name)
        try:
            return parse_fixed(found, scale)
        except UnitError:
            raise ApiError(-1111, f"Parameter '{name}' has too much precision.") from None

    def client_id(self, name: str) -> str:
        found = self.values.get(name, "")
        if found and _CLIENT_ID.fullmatch(found) is None:
            raise illegal(name, r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
        return found


def _parsed(parts: Iterable[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for part in parts:
        if not part:
            continue
        name, _, value = part.partition("=")
        name = unquote_plus(name)
        if name in values:
            raise ApiError(-1101, f"Duplicate values for a parameter detected: '{name}'.")
        values[name] = unquote_plus(value)
    return values


def client_of(clients: dict[str, Client], key: str | None) -> Client:
    """Whose key this is. Raises ApiError."""
    if not key:
        raise ApiError(-2014, "API-key format invalid.", 401)
    client = clients.get(key)
    if client is None or client.is_revoked:
        raise ApiError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    return client


def check_signature(client: Client, request: HttpRequest, params: Params) -> None:
    """HMAC SHA256 of query and body as they came, without the signature itself."""
    given = params.get("signature")
    if not given:
        raise missing("signature")
    body = request.body.decode("latin-1")
    signed = "".join(re.sub(r"&?signature=[^&]*", "", part) for part in (request.query, body))
    _compare(client, signed, given)


def check_websocket_signature(client: Client, values: dict[str, Any]) -> None:
    """The WebSocket API signs its parameters in alphabetical order."""
    given = str(values.get("signature", ""))
    if not given:
        raise missing("signature")
    signed = "&".join(f"{name}={_plain(values[name])}" for name in sorted(values) if name != "signature")
    _compare(client, signed, given)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _compare(client: Client, signed: str, given: str) -> None:
    expected = hmac.new(client.secret.encode(), signed.encode("latin-1"), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise ApiError(-1022, "Signature for this request is not valid.")


def check_clock(ts: int, params: Params) -> None:
    stamp, window = params.integer("timestamp"), params.integer("recvWindow", RECV_WINDOW_MS)
    if window > RECV_WINDOW_MS_MAX:
        raise ApiError(-1131, "recvWindow must be less than 60000")
    now = ts // NS_PER_MS
    if stamp >= now + AHEAD_MS_MAX:
        raise ApiError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now - stamp > window:
        raise ApiError(-1021, "Timestamp for this request is outside of the recvWindow.")
