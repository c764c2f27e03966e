"""Requests as the simulated venue reads them, and its answers as bytes. Written from the documentation of API v2; shares nothing
with the adapter's wire."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import msgspec

from core.errors import UnitError
from core.units import parse_fixed

REQUEST_BYTES_MAX = 1 << 20
_encode = msgspec.json.Encoder().encode


class RpcError(Exception):
    """An error answer: code, message, and what data says."""

    def __init__(self, code: int, message: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.data = data


def invalid(param: str, reason: str) -> RpcError:
    return RpcError(-32602, "Invalid params", {"param": param, "reason": reason})


class Params:
    """Named parameters of one request; each getter answers as the venue does to a wrong one. Raises RpcError.

    `is_text`: they come from a query string, where every value is text.
    """

    def __init__(self, found: dict[str, Any], *, is_text: bool = False) -> None:
        self._found = {name: _from_text(value) for name, value in found.items()} if is_text else found
        self._is_text = is_text

    def has(self, name: str) -> bool:
        return name in self._found

    def text(self, name: str, default: str | None = None) -> str:
        value = self._found.get(name, default)
        if self._is_text and isinstance(value, int | Decimal) and not isinstance(value, bool):
            return str(value)  # a label of digits, for example
        if not isinstance(value, str):
            raise invalid(name, "value required" if value is None else "wrong format")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        value = self._found.get(name, default)
        if not isinstance(value, bool):
            raise invalid(name, "wrong format")
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        value = self._found.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise invalid(name, "value required" if value is None else "wrong format")
        return value

    def scaled(self, name: str, scale: int) -> int:
        """A number at `scale`, exactly."""
        value = self._found.get(name)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise invalid(name, "value required" if value is None else "wrong format")
        try:
            return parse_fixed(str(value), scale)
        except UnitError as error:
            raise invalid(name, "wrong format") from error

    def names(self, name: str) -> list[str]:
        value = self._found.get(name)
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise invalid(name, "wrong format")
        return value


_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z", re.ASCII)


def _from_text(value: str) -> Any:
    """As JSON would have it: numbers, true, false, lists; anything else is text."""
    if value in ("true", "false"):
        return value == "true"
    if _NUMBER.match(value):
        return int(value) if value.lstrip("-").isdigit() else Decimal(value)
    if value.startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def read_request(payload: bytes) -> tuple[int | None, str, Params]:
    """id, method, params. Raises RpcError; then the id is not known, and the answer bears null."""
    if len(payload) > REQUEST_BYTES_MAX:
        raise RpcError(-32600, "Invalid Request")
    try:
        found = json.loads(payload, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise RpcError(-32700, "Parse error") from error
    if not isinstance(found, dict) or found.get("jsonrpc") != "2.0" or not isinstance(found.get("method"), str):
        raise RpcError(-32600, "Invalid Request")
    request_id, params = found.get("id"), found.get("params", {})
    if isinstance(request_id, bool) or not isinstance(request_id, int):
        raise RpcError(-32600, "Invalid Request", {"reason": "id is required"})
    if not isinstance(params, dict):
        raise RpcError(-32600, "Invalid Request", {"reason": "params must be named"})
    return request_id, found["method"], Params(params)


def _refuse(text: str) -> None:
    raise ValueError(text)


def answer(request_id: int | None, result: Any, us_in: int, us_out: int, testnet: bool) -> bytes:
    return _encode(
        {
            "jsonrpc": "2.0",
            "id": request_id,
            "result": result,
            "usIn": us_in,
            "usOut": us_out,
            "usDiff": us_out - us_in,
            "testnet": testnet,
        }
    )


def refusal(request_id: int | None, error: RpcError, us_in: int, us_out: int, testnet: bool) -> bytes:
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return _encode(
        {
            "jsonrpc": "2.0",
            "id": request_id,
            "error": body,
            "usIn": us_in,
            "usOut": us_out,
            "usDiff": us_out - us_in,
            "testnet": testnet,
        }
    )


def notification(channel: str, data: Any) -> bytes:
    return _encode({"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}})


def heartbeat(kind: str) -> bytes:
    return _encode({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": kind}})
