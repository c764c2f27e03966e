"""Every request and answer as it is recorded, with what is secret taken out before anybody sees it. Pure."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from adapters.http.request import Intent, Outcome, Progress

REDACTED = "***"
_REDACTED = REDACTED.encode()
# A shorter one would take innocent text with it, and is no secret.
SECRET_LENGTH_MIN = 6
RECORD_BYTES_MAX = 1 << 16

SECRET_HEADERS = frozenset(
    {
        "apca-api-key-id",
        "apca-api-secret-key",
        "authorization",
        "cookie",
        "proxy-authorization",
        "set-cookie",
        "x-api-key",
        "x-mbx-apikey",
    }
)
# Values that are secret wherever they stand: as a parameter of a query or form, and as a member of a JSON object.
_NAMES = rb"signature|listen_?key|listen_?token|api_?key|api_?secret|client_?secret|(?:access|refresh)_?token|token|passphrase"
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PARAMETER = re.compile(rb"(?i)(?<![A-Za-z0-9_])(" + _NAMES + rb")=[^&\s\"']*")
_MEMBER = re.compile(rb"(?i)(\"(?:" + _NAMES + rb")\"\s*:\s*)\"(?:[^\"\\]|\\.)*\"")


class HttpRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. `number` joins a request with its answer or failure; ts is the wall clock, ns UTC."""

    number: int
    ts: int
    venue: str
    kind: Literal["request", "answer", "failure"]
    name: str
    intent: Intent
    method: str = ""
    url: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    status: int = 0
    body: bytes = b""
    body_bytes: int = 0  # of the whole, where `body` was cut
    progress: Progress = Progress.QUEUED
    outcome: Outcome | None = None
    reason: str = ""


# A recorder keeps or loses a record, and raises nothing: an outcome must not be lost for want of a disk.
Recorder = Callable[[HttpRecord], None]


def unrecorded(_record: HttpRecord) -> None:
    """Where nobody keeps records."""


def percent_encoded(plain: bytes) -> bytes:
    """As in a URL or a form: all but letters, digits and -._~ in %XX."""
    return b"".join(b"%c" % byte if chr(byte) in _UNRESERVED else b"%%%02X" % byte for byte in plain)


class Redactor:
    """Takes secrets out: by the names of headers, parameters and members, and the known values wherever they stand."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms: set[bytes] = set()
        for secret in secrets:
            if len(secret) >= SECRET_LENGTH_MIN:
                plain = secret.encode()
                forms |= {plain, percent_encoded(plain), percent_encoded(plain).replace(b"%20", b"+"), b64encode(plain)}
        # Longest first, so that a secret inside another is not cut out of its middle.
        self._values = (
            re.compile(b"|".join(re.escape(form) for form in sorted(forms, key=lambda f: (-len(f), f)))) if forms else None
        )

    def body(self, body: bytes) -> bytes:
        # A search for what cannot be there costs as much as one that finds it.
        if b"=" in body:
            body = _PARAMETER.sub(rb"\1=***", body)
        if b'"' in body:
            body = _MEMBER.sub(rb'\1"***"', body)
        return body if self._values is None else self._values.sub(_REDACTED, body)

    def text(self, text: str) -> str:
        return self.body(text.encode("utf-8", "backslashreplace")).decode("utf-8", "backslashreplace")

    def headers(self, headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        found = list(headers)
        values = [REDACTED if name.lower() in SECRET_HEADERS else value for name, value in found]
        # All at once: a line feed ends every value, and is in none.
        cut = self.text("\n".join(values)).split("\n")
        if len(cut) != len(values) or any('"' in value for value in values):
            cut = [self.text(value) for value in values]  # a quote that nobody closes would reach into the next value
        return tuple((name, value) for (name, _), value in zip(found, cut, strict=True))
