"""The gate by itself: nothing that is refused reaches the application, whatever comes in; what passes comes through unchanged."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ConfigError
from daemon.api import gate
from daemon.api.gate import JSON_DEPTH_MAX, Gate
from daemon.api.metrics import ApiMetrics
from daemon.api.settings import ApiClient
from daemon.api.tokens import Tokens
from tests.daemon.api.test_server import settings_of

PORT = 8_720
TOKEN = "t" * 32
HOST = (b"host", b"127.0.0.1:8720")
GOOD = (HOST, (b"authorization", b"Bearer " + TOKEN.encode()))
JSON = (b"content-type", b"application/json")


def client(name: str = "alice", token: str = "alice", scopes: tuple[str, ...] = ("trade",)) -> ApiClient:
    return ApiClient(client_id=name, token=token, scopes=frozenset(scopes), instruments=[], levels=0, interval_s=0.1)


class Behind:
    """The application: remembers what came through."""

    def __init__(self, **changes: Any) -> None:
        self.bodies: list[bytes] = []
        self.callers: list[str] = []
        clients = [client()]
        settings_ = settings_of(PORT, clients=clients, **changes)
        self.gate = Gate(self.app, settings_, Tokens(clients, lambda _name: TOKEN), ApiMetrics())

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.callers.append(scope["state"]["caller"].client_id)
        self.bodies.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def ask(self, headers: Any = GOOD, body: bytes = b"", path: str = "/order", method: str = "POST", parts: int = 1) -> int:
        """The status of the answer."""
        sent: list[dict[str, Any]] = []
        size = -(-len(body) // parts) or 1
        messages = [
            {"type": "http.request", "body": body[start : start + size], "more_body": start + size < len(body)}
            for start in range(0, max(len(body), 1), size)
        ]

        async def receive() -> Any:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": list(headers),
        }
        anyio.run(self.gate, scope, receive, send)
        return int(sent[0]["status"])


@given(st.binary(max_size=200), st.integers(1, 5))
def test_a_body_comes_through_as_it_was_or_not_at_all(body: bytes, parts: int) -> None:
    behind = Behind()
    status = behind.ask((*GOOD, JSON), body, parts=parts)
    assert (status, behind.bodies) in ((200, [body]), (400, []))


headers = st.lists(
    st.tuples(
        st.sampled_from(
            [b"host", b"origin", b"authorization", b"content-type", b"content-length", b"cookie", b"x-forwarded-host"]
        ),
        st.sampled_from([b"", b"127.0.0.1:8720", b"evil", b"null", b"Bearer x", b"Bearer " + TOKEN.encode(), b"-1", b"\xff"])
        | st.binary(max_size=12),
    ),
    max_size=5,
)


@settings(max_examples=400)
@given(headers)
def test_only_one_good_host_no_foreign_origin_and_a_good_token_come_through(given_headers: Any) -> None:
    behind = Behind()
    status = behind.ask(given_headers)
    values = {name: [value for key, value in given_headers if key == name] for name in (b"host", b"origin", b"authorization")}
    is_good = (
        [value.strip() for value in values[b"host"]] == [b"127.0.0.1:8720"]
        and not values[b"origin"]
        and [value.strip() for value in values[b"authorization"]] == [b"Bearer " + TOKEN.encode()]
    )
    assert bool(behind.bodies) <= is_good
    assert status in ((200, 413) if is_good else (401, 403))


@pytest.mark.parametrize(("depth", "status"), [(JSON_DEPTH_MAX, 200), (JSON_DEPTH_MAX + 1, 400)])
def test_how_deep_a_body_may_be(depth: int, status: int) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        body = opening * depth + b"1" + closing * depth
        assert Behind().ask((*GOOD, JSON), body) == status
    assert Behind().ask((*GOOD, JSON), b'["' + b"[" * 100 + b'\\"["]') == 200, "in text it is no depth"


def test_a_length_that_lies_is_found_out() -> None:
    behind = Behind()
    assert behind.ask((*GOOD, JSON, (b"content-length", b"4097"))) == 413
    assert behind.ask((*GOOD, JSON, (b"content-length", b"5")), b"[" + b" " * 5_000 + b"]", parts=4) == 413
    assert behind.bodies == []


def test_a_second_of_requests_is_counted_and_stopping_is_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate.time, "monotonic_ns", lambda: 5)
    behind = Behind(requests_max=2)
    assert [behind.ask() for _ in range(3)] == [200, 200, 429]
    assert [behind.ask(path="/kill") for _ in range(3)] == [200, 200, 429]
    monkeypatch.setattr(gate.time, "monotonic_ns", lambda: 5 + 10**9)
    assert behind.ask() == 200


def test_tokens_are_long_and_everybodys_own() -> None:
    with pytest.raises(ConfigError, match="a token has 32 to 256 of"):
        Tokens([client()], lambda _name: "short")
    with pytest.raises(ConfigError, match="a token has 32 to 256 of") as caught:
        Tokens([client()], lambda _name: "x" * 40 + " y")
    assert "xxxx" not in str(caught.value)
    with pytest.raises(ConfigError, match="clients alice and bob have the same token"):
        Tokens([client(), client("bob")], lambda _name: TOKEN)


def test_only_digests_of_tokens_are_kept() -> None:
    tokens = Tokens([client()], lambda _name: TOKEN)
    assert TOKEN not in repr(vars(tokens))
    found = tokens.find(TOKEN)
    assert found is not None
    assert (found.client_id, sorted(found.may)) == ("alice", ["read", "trade"])
    assert tokens.find(TOKEN[:-1]) is None
    assert tokens.find("\udcff") is None
