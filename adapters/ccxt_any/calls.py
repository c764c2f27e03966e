"""ccxt's unified calls, each with what became of it: our transport carries, the outcome rule decides before ccxt maps anything.

A call of ccxt may make several requests, or none. Its outcome is the worst of them: nothing was sent only where nothing was, and
a refusal is one only where no request before it is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

import msgspec

from adapters.ccxt_any.exchange import error_types
from adapters.ccxt_any.outcomes import outcome_of
from adapters.http.io import HttpTransport
from adapters.http.request import Answer, Intent, Outcome, Request, Sent, Verdict, Wire
from adapters.http.strict_json import require_strict
from core.errors import ConfigError, TransportError, VenueProtocolError
from core.units import NS_PER_MS

V = TypeVar("V")

COST = "cost"  # the one budget: ccxt's costs, in hundredths
COST_SCALE = 100
MARKETS_BYTES_MAX = 64 << 20
ANSWER_BYTES_MAX = 8 << 20
# What ccxt's parsers raise on an answer that is not what they expect.
PARSING_FAILED = (VenueProtocolError, ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
# And what is refused here before it leaves.
NOT_LEFT = (ConfigError, TransportError)


class Result(msgspec.Struct, Generic[V], frozen=True, kw_only=True):
    """`value` is there where the outcome is ACCEPTED. `names`: of ccxt's error class and its ancestors. `sent_ns`: when the last
    request left, monotonic; 0 where none did."""

    outcome: Outcome
    value: V | None = None
    reason: str = ""
    names: tuple[str, ...] = ()
    sent_ns: int = 0


class _Call:
    """What one call of ccxt has sent."""

    def __init__(self, intent: Intent, name: str, deadline_s: float, bytes_max: int, must_name: str) -> None:
        self.intent = intent
        self.name = name
        self.deadline_s = deadline_s
        self.bytes_max = bytes_max
        self.must_name = must_name
        self.sents: list[Sent[Any]] = []


_CALL: ContextVar[_Call] = ContextVar("call")


class Calls:
    """One exchange's door. `origins`: where it may send, given when the exchange is there."""

    def __init__(self, http: HttpTransport, deadline_s: float, headers: Mapping[str, str]) -> None:
        self._http = http
        self._deadline_s = deadline_s
        self._headers = tuple(headers.items())
        self._base_error, self._network_error = error_types()
        self.origins: frozenset[str] = frozenset()

    async def run(
        self,
        intent: Intent,
        name: str,
        make: Callable[[], Awaitable[V]],
        *,
        bytes_max: int = ANSWER_BYTES_MAX,
        deadline_s: float = 0.0,
        must_name: str = "",
    ) -> Result[V]:
        """`make()` is a call of ccxt. Raises nothing for what exchanges, networks and ccxt's parsers do.

        `must_name`: our order id, without which no request of this call may leave: at some exchanges ccxt drops it and makes one
        of its own, and an order whose answer is lost could not be found again.
        """
        call = _Call(intent, name, deadline_s or self._deadline_s, bytes_max, must_name)
        token = _CALL.set(call)
        try:
            value = await make()
        except self._base_error as error:
            names = tuple(each.__name__ for each in type(error).__mro__)
            return self._failed(call, f"{type(error).__name__}: {error}", names)
        except (*PARSING_FAILED, *NOT_LEFT) as error:
            return self._failed(call, f"{type(error).__name__}: {error}", ())
        finally:
            _CALL.reset(token)
        doubtful = next((sent for sent in call.sents if sent.outcome is Outcome.UNKNOWN), None)
        if doubtful is not None and intent is not Intent.QUERY:
            # ccxt has passed over it; what was asked for may have been done twice, or in part.
            return Result(outcome=Outcome.UNKNOWN, reason=doubtful.reason, sent_ns=_last(call))
        return Result(outcome=Outcome.ACCEPTED, value=value, sent_ns=_last(call))

    def _failed(self, call: _Call, reason: str, names: tuple[str, ...]) -> Result[Any]:
        sents = call.sents
        if not sents:
            outcome = Outcome.NOT_SENT_PROVEN
        elif any(sent.outcome is Outcome.UNKNOWN for sent in sents) or sents[-1].outcome is Outcome.ACCEPTED:
            # Answered well, and ccxt cannot read it: it was done, or not.
            outcome = Outcome.UNKNOWN
        else:
            outcome = sents[-1].outcome
        text = sents[-1].reason if sents and sents[-1].reason else reason
        return Result(outcome=outcome, reason=f"{call.name}: {text}"[:500], names=names, sent_ns=_last(call))

    # The door.

    async def pass_through(self, exchange: Any, path: str, api: Any, method: str, params: Any, cost: float) -> Any:
        """One request of ccxt's. Raises ccxt's own errors, so that ccxt goes on as it would."""
        call = _CALL.get()
        if call.must_name not in repr(params):
            raise ConfigError(f"at {exchange.id} ccxt sends {method} {path} for an order without our id of it")
        caught: list[Exception] = []
        signed: dict[str, Any] = {}

        def build(venue_ns: int) -> Wire:
            signed.clear()
            signed.update(exchange.sign_at(venue_ns // NS_PER_MS, path, api, method, params))
            return self._wire(signed)

        def judge(answer: Answer) -> Verdict[tuple[Any]]:
            caught.clear()
            return self._judged(exchange, signed, answer, caught, call.bytes_max)

        request: Request[tuple[Any]] = Request(
            name=f"{exchange.id}.{call.name}",
            intent=call.intent,
            build=build,
            judge=judge,
            costs=((COST, max(1, math.ceil(cost * COST_SCALE))),),
            deadline_s=call.deadline_s,
            answer_bytes_max=call.bytes_max,
        )
        sent = await self._http.send(request)
        call.sents.append(sent)
        if sent.value is not None:
            return sent.value[0]
        raise caught[-1] if caught else self._network_error(f"{exchange.id} {sent.reason}")

    def _wire(self, signed: Mapping[str, Any]) -> Wire:
        origin, target = _split(signed["url"])
        if origin not in self.origins:
            raise ConfigError(f"{origin} is no endpoint of this environment: nothing is sent there")
        body = signed.get("body")
        if body is not None and not isinstance(body, str | bytes):
            raise VenueProtocolError("a body of several parts is not supported")
        content = body.encode() if isinstance(body, str) else body or b""
        headers = [(name, str(value)) for name, value in signed["headers"].items() if name.lower() != "accept-encoding"]
        return Wire(str(signed["method"]), origin, target, (*headers, *self._headers), content)

    def _judged(
        self, exchange: Any, signed: Mapping[str, Any], answer: Answer, caught: list[Exception], bytes_max: int
    ) -> Verdict[tuple[Any]]:
        body = answer.body.strip()
        if body[:1] in (b"{", b"["):
            require_strict(body, bytes_max=bytes_max)
        headers = {**answer.headers, **{name.title(): value for name, value in answer.headers.items()}}
        sent = (signed["url"], signed["method"])
        request = (signed["headers"], signed.get("body"))
        try:
            text = exchange.on_rest_response(answer.status, "", *sent, headers, body.decode("utf-8", "replace"), *request)
            decoded = exchange.parse_json(text)
            exchange.handle_errors(answer.status, "", *sent, headers, text, decoded, *request)
            exchange.handle_http_status_code(answer.status, "", *sent, text)
        except self._base_error as error:
            caught.append(error)
            names = tuple(each.__name__ for each in type(error).__mro__)
            reason = f"status {answer.status}, {type(error).__name__}: {body[:200].decode('utf-8', 'replace')}"
            return Verdict(outcome_of(answer.status, body, names), reason)
        except PARSING_FAILED as error:
            raise VenueProtocolError(f"{type(error).__name__}: {error}") from error
        if not 200 <= answer.status < 300:
            raise VenueProtocolError(f"ccxt finds no error in it: {body[:200]!r}")
        return Verdict(Outcome.ACCEPTED, value=(text if decoded is None else decoded,))


def _last(call: _Call) -> int:
    return max((sent.sent_ns for sent in call.sents), default=0)


def _split(url: str) -> tuple[str, str]:
    """Origin and target, byte for byte."""
    scheme, _, rest = url.partition("://")
    at = min((index for index in (rest.find("/"), rest.find("?")) if index >= 0), default=len(rest))
    target = rest[at:] or "/"
    if "#" in url:
        raise TransportError("a URL with a fragment cannot be sent by HTTP")
    return f"{scheme}://{rest[:at]}", target if target.startswith("/") else f"/{target}"
