"""The API as a client meets it: orders through the risk gate, its own views, scopes, streams; what is refused has no effect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from core.enums import TradingState
from daemon.api.app import STATUS_FOR_ALL
from tests.daemon.api.live import SECONDS_MAX, TOKENS, LiveApi, live_api

ORDER = {"client_ref": "a1", "instrument_id": "ACME.SIM", "side": "BUY", "quantity": "5", "price": "99.00"}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    with live_api(tmp_path_factory.mktemp("api")) as made:
        yield made


@pytest.fixture
def refs(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Names that no other test uses."""
    numbers = iter(range(1_000_000))
    return (f"{request.node.name[:40].translate(str.maketrans('[]', '..'))}-{number}" for number in numbers)


def open_socket(live: LiveApi, path: str, name: str | None = "alice", **headers: str) -> ClientConnection:
    given = dict(headers)
    if name is not None:
        given["Authorization"] = f"Bearer {TOKENS[name]}"
    return connect(f"ws://127.0.0.1:{live.port}{path}", additional_headers=given, compression=None, open_timeout=SECONDS_MAX)


def receive(websocket: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(websocket.recv(timeout=SECONDS_MAX))
    return found


def test_an_order_lives_as_long_as_its_client_wants(live: LiveApi, refs: Any) -> None:
    order = {**ORDER, "client_ref": next(refs)}
    with live.client("alice") as alice, live.client("bob") as bob:
        made = alice.post("/order", json=order)
        assert (made.status_code, made.json()["is_repeated"]) == (200, False)
        order_id = made.json()["order_id"]
        again = alice.post("/order", json=order)
        assert (again.json()["order_id"], again.json()["is_repeated"]) == (order_id, True)
        assert order_id in [each["order_id"] for each in alice.get("/orders").json()["orders"]]
        assert order_id not in [each["order_id"] for each in bob.get("/orders").json()["orders"]]
        assert bob.post(f"/cancel/{order_id}").status_code == 404
        live.wait_until(lambda: live.session.trader.orders.orders[made.json()["order"]["client_order_id"]].accepted)
        moved = alice.post(f"/replace/{order_id}", json={"quantity": "4", "price": "98.50"})
        assert (moved.status_code, moved.json()["order"]["status"]) == (200, "PENDING_REPLACE")
        canceled = alice.post(f"/cancel/{order_id}")
        assert (canceled.status_code, canceled.json()["order"]["status"]) == (200, "PENDING_CANCEL")
        live.wait_until(lambda: not live.session.trader.orders.open_orders(None, "alice"))
        ended = alice.post(f"/cancel/{order_id}")
        assert (ended.status_code, ended.json()["error"]) == (409, f"order {order_id} has ended: CANCELED")


def test_two_clients_have_two_budgets(live: LiveApi, refs: Any) -> None:
    order = {**ORDER, "client_ref": next(refs), "quantity": "25"}
    with live.client("alice") as alice, live.client("bob") as bob:
        denied = alice.post("/order", json=order)
        assert (denied.status_code, denied.json()["status"]) == (409, "DENIED")
        assert denied.json()["denial"] == {"limit": "strategy_position_qty_max", "value": "25", "bound": "20"}
        taken = bob.post("/order", json=order)
        assert taken.status_code == 200
        risk = alice.get("/risk/alice").json()
        assert risk["instruments"][0]["position_qty_max"] == "20"
        assert bob.get("/risk/alice").status_code == 403
        bob.post(f"/cancel/{taken.json()['order_id']}")
        live.wait_until(lambda: not live.session.trader.orders.open_orders(None, "bob"))


def test_a_fill_is_shown_and_streamed_in_order(live: LiveApi, refs: Any) -> None:
    with live.client("bob") as bob, open_socket(live, "/ws/fills/bob", "bob") as websocket:
        for side in ("BUY", "SELL"):
            order = {"client_ref": next(refs), "instrument_id": "ACME.SIM", "side": side, "quantity": "2", "order_type": "MARKET"}
            assert bob.post("/order", json=order).status_code == 200
        seen: list[dict[str, Any]] = []
        while sum(int(fill["quantity"]) for fill in seen) < 4:
            seen.append(receive(websocket))
        fills = bob.get("/fills/bob").json()["fills"]
        assert [{"type": "fill", **fill} for fill in fills][-len(seen) :] == seen
        assert [fill["number"] for fill in seen] == sorted({fill["number"] for fill in seen})
    first = seen[0]["number"]
    # Whoever was away asks for what came behind the last one known, and misses none.
    with open_socket(live, f"/ws/fills/bob?after={first - 1}", "bob") as websocket:
        assert [receive(websocket) for _ in seen] == seen


def test_the_market_is_streamed_with_as_many_levels_as_allowed(live: LiveApi) -> None:
    with open_socket(live, "/ws/md") as alice, open_socket(live, "/ws/md", "bob") as bob:
        for _ in range(3):
            market = receive(alice)
            assert (market["type"], market["instrument_id"]) == ("md", "ACME.SIM")
            assert 0 < len(market["bids"]) <= 3
            assert {"mid", "bid", "ask", "spread", "time"} <= set(market)
        assert receive(bob)["bids"] == []
    with live.client("alice") as client:
        assert set(client.get("/book/ACME.SIM").json()) | {"type"} == set(market)


SCOPES = [
    ("GET", "/status", {"watch": 200, "alice": 200, "guard": 200, "desk": 200}),
    ("GET", "/orders", {"watch": 200, "alice": 200, "guard": 200, "desk": 200}),
    ("GET", "/positions", {"watch": 200, "alice": 200, "guard": 200, "desk": 200}),
    ("GET", "/metrics", {"watch": 200, "alice": 200, "guard": 200, "desk": 200}),
    ("GET", "/book/ACME.SIM", {"watch": 200, "alice": 200, "guard": 403, "desk": 200}),
    ("GET", "/fills/alice", {"watch": 403, "alice": 200, "guard": 403, "desk": 200}),
    ("GET", "/risk/alice", {"watch": 403, "alice": 200, "guard": 403, "desk": 200}),
    ("POST", "/order", {"watch": 403, "guard": 403, "alice": 422, "desk": 422}),
    ("POST", "/cancel/1-999", {"watch": 403, "guard": 403, "alice": 404, "desk": 404}),
    ("POST", "/replace/1-999", {"watch": 403, "guard": 403, "alice": 422, "desk": 422}),
    ("POST", "/resume", {"watch": 403, "alice": 403, "guard": 403, "desk": 422}),
    ("POST", "/flatten", {"watch": 403, "alice": 403, "guard": 403, "desk": 422}),
    ("POST", "/halt", {"watch": 403, "alice": 403}),
    ("POST", "/reduce", {"watch": 403, "alice": 403}),
    ("POST", "/kill", {"watch": 403, "alice": 403}),
]


@pytest.mark.parametrize(("method", "path", "expected"), SCOPES, ids=[f"{method} {path}" for method, path, _ in SCOPES])
def test_each_scope_gives_what_the_table_says_and_no_more(
    live: LiveApi, method: str, path: str, expected: dict[str, int]
) -> None:
    digest = live.digest()
    body = {"json": {}} if path in ("/order", "/replace/1-999", "/resume", "/flatten") else {}
    found = {}
    for name in expected:
        with live.client(name) as client:
            found[name] = client.request(method, path, **body).status_code
    assert found == expected
    assert live.digest() == digest


def test_a_status_shows_money_to_operators_only(live: LiveApi) -> None:
    with live.client("watch") as watch, live.client("desk") as desk:
        assert set(watch.get("/status").json()) == set(STATUS_FOR_ALL)
        assert "profit" in desk.get("/status").json()
        assert [each["strategy_id"] for each in watch.get("/positions").json()["positions"]] == []
        assert desk.get("/positions").json()["cash"]


def test_stopping_takes_less_than_starting_again(live: LiveApi, refs: Any) -> None:
    with live.client("guard") as guard, live.client("desk") as desk, live.client("alice") as alice:
        assert guard.post("/reduce").json()["trading_state"] == "REDUCING"
        assert guard.post("/halt", json={"reason": "odd fills"}).json()["trading_state"] == "HALTED"
        assert guard.post("/resume", json={"reason": "please"}).status_code == 403
        denied = alice.post("/order", json={**ORDER, "client_ref": next(refs)})
        assert denied.json()["denial"]["limit"] == "trading_state"
        status = desk.get("/status").json()
        assert status["trading_state_reason"] == "guard by the API: odd fills"
        assert guard.post("/kill", json={"reason": "all of it", "flatten": True}).status_code == 403
        killed = guard.post("/kill", json={"reason": "all of it"}).json()
        assert (killed["latched"], killed["guardian"], killed["daemon"]["status"]) == (True, None, 200)
        assert live.session.kill.record().text.endswith("guard by the API: all of it")
        assert desk.post("/resume", json={"reason": "seen to"}).json()["trading_state"] == "ACTIVE"
    assert not live.session.kill.is_set
    assert live.session.trader.risk.trading_state is TradingState.ACTIVE


def test_one_client_is_stopped_by_itself_and_everything_is_closed(live: LiveApi, refs: Any) -> None:
    with live.client("guard") as guard, live.client("desk") as desk, live.client("alice") as alice, live.client("bob") as bob:
        assert guard.post("/halt", json={"strategy_id": "alice", "reason": "too fast"}).json()["strategy_state"] == "HALTED"
        assert alice.post("/order", json={**ORDER, "client_ref": next(refs)}).json()["denial"]["limit"] == "trading_state"
        assert alice.get("/risk/alice").json()["trading_state_own"] == "HALTED"
        bought = bob.post("/order", json={**ORDER, "client_ref": next(refs), "order_type": "MARKET", "price": None})
        assert bought.status_code == 200
        resumed = desk.post("/resume", json={"strategy_id": "alice", "reason": "slower now"})
        assert resumed.json()["strategy_state"] == "ACTIVE"
        assert guard.post("/halt", json={"strategy_id": "nobody"}).status_code == 404
        flat = desk.post("/flatten", json={"reason": "evening"}).json()
        assert (flat["trading_state"], flat["flat"]) == ("REDUCING", True)
        assert desk.post("/resume", json={"reason": "morning"}).json()["trading_state"] == "ACTIVE"


def test_metrics_have_documented_names_with_units(live: LiveApi) -> None:
    with live.client("watch") as watch:
        answer = watch.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    names = {line.split()[2] for line in answer.text.splitlines() if line.startswith("# TYPE ")}
    assert {"tradingd_up", "tradingd_event_lag_seconds_max", "tradingd_api_requests_total", "tradingd_trading_state"} <= names
    assert 'tradingd_trading_state{state="ACTIVE"} 1.0' in answer.text
    assert "token" not in answer.text


def test_the_documentation_loads_nothing_from_elsewhere(live: LiveApi) -> None:
    with live.client(None) as anybody:
        page, document = anybody.get("/docs"), anybody.get("/openapi.json").json()
    assert "<script" not in page.text
    assert "//" not in page.text.replace("http://127.0.0.1", "")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    for path in document["paths"]:
        assert path in page.text
    assert {f"{verb.upper()} {path}" for path, verbs in document["paths"].items() for verb in verbs} >= {
        "POST /order",
        "POST /kill",
        "GET /fills/{client_id}",
    }


# What is refused, and that it has no effect.


def refused(live: LiveApi, status: int, call: Any) -> httpx.Response:
    digest = live.digest()
    answer: httpx.Response = call()
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    assert live.digest() == digest
    return answer


@pytest.mark.parametrize(
    "token",
    ["", "Bearer", "Bearer wrong", "Basic YWxpY2U6eA==", f"Bearer {TOKENS['alice']}x", TOKENS["alice"], "Bearer \xff" * 9],
)
def test_without_a_good_token_nothing_is_said(live: LiveApi, token: str, refs: Any) -> None:
    with live.client(None) as client:
        headers = {"Authorization": token.encode("latin-1")} if token else {}
        refused(live, 401, lambda: client.post("/order", json={**ORDER, "client_ref": next(refs)}, headers=headers))
        refused(live, 401, lambda: client.get("/nowhere", headers=headers))


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", "0.0.0.0:{port}", ""]
)
def test_a_host_that_is_not_ours_is_refused(live: LiveApi, host: str, refs: Any) -> None:
    with live.client("desk") as client:
        headers = {"Host": host.format(port=live.port)}
        refused(live, 403, lambda: client.post("/order", json={**ORDER, "client_ref": next(refs)}, headers=headers))


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://desk.example", "http://127.0.0.1", ""])
def test_a_page_of_another_origin_is_refused(live: LiveApi, origin: str, refs: Any) -> None:
    with live.client("desk") as client:
        refused(live, 403, lambda: client.post("/halt", json={}, headers={"Origin": origin}))
        answer = client.options("/order", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
        assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (403, False)
    for path in ("/ws/md", "/ws/fills/alice"):
        with pytest.raises(InvalidStatus) as caught:
            open_socket(live, path, "alice", Origin=origin)
        assert caught.value.response.status_code == 403


def test_a_page_of_an_allowed_origin_may_call(live: LiveApi) -> None:
    origin = "https://desk.example:8443"
    with live.client(None) as client:
        asked = client.options("/order", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, origin)
    with live.client("alice") as client:
        assert client.get("/orders", headers={"Origin": origin}).headers["access-control-allow-origin"] == origin
    subprotocols = ["tradingd", f"bearer.{TOKENS['alice']}"]
    address = f"ws://127.0.0.1:{live.port}/ws/md"
    with connect(address, origin=origin, subprotocols=subprotocols) as websocket:  # type: ignore[arg-type] # plain text will do
        assert websocket.subprotocol == "tradingd"
        assert receive(websocket)["type"] == "md"


def test_a_websocket_needs_a_token_and_its_own_client(live: LiveApi) -> None:
    for path, name, status in (("/ws/md", None, 401), ("/ws/fills/alice", "bob", 403), ("/ws/nowhere", "bob", 403)):
        with pytest.raises(InvalidStatus) as caught:
            open_socket(live, path, name)
        assert caught.value.response.status_code == status
    for path, status in (("/ws/md?instrument_id=OTHER.SIM", 403), ("/ws/fills/alice?after=x", 400), ("/ws/md?token=x", 101)):
        try:
            with open_socket(live, path):
                found = 101
        except InvalidStatus as error:
            found = error.response.status_code
        assert found == status, path


def test_a_websocket_takes_no_messages(live: LiveApi) -> None:
    digest = live.digest()
    for message in ('{"op":"order"}', b"\x00\xff", "x" * 1_000, ""):
        with open_socket(live, "/ws/fills/alice") as websocket:
            websocket.send(message)
            with pytest.raises(ConnectionClosed) as caught:
                websocket.recv(timeout=SECONDS_MAX)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1003
    with open_socket(live, "/ws/fills/alice") as websocket:
        websocket.send("x" * 100_000)
        with pytest.raises(ConnectionClosed) as caught:
            websocket.recv(timeout=SECONDS_MAX)
    assert live.digest() == digest


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (413, b'{"client_ref":"' + b"x" * 20_000 + b'"}', "application/json"),
        (400, b'{"a":' * 9 + b"1" + b"}" * 9, "application/json"),
        (400, b"[" * 16_000, "application/json"),
        (415, b'{"client_ref":"x"}', "text/plain"),
        (415, b"client_ref=x", "application/x-www-form-urlencoded"),
        (415, b'{"client_ref":"x"}', "application/json; charset=utf-7"),
        (422, b"{", "application/json"),
        (422, b"\xff\xfe", "application/json"),
        (422, b"null", "application/json"),
        (422, b'{"client_ref":"\\ud800","\\ud800":1}', "application/json"),
        (422, b'{"client_ref":NaN}', "application/json"),
    ],
)
def test_bodies_that_are_too_much_are_refused(live: LiveApi, status: int, content: bytes, kind: str) -> None:
    with live.client("alice") as client:
        answer = client.post("/order", content=content, headers={"Content-Type": kind})
        assert answer.status_code in ({422, 400} if status == 422 else {status}), answer.text
        assert set(answer.json()) == {"error"}


def test_nothing_says_how_it_is_made_or_what_was_sent(live: LiveApi, refs: Any) -> None:
    secret = "s3cret-value-that-must-not-come-back"
    with live.client("alice") as client:
        for answer in (
            client.post("/order", json={**ORDER, "client_ref": secret + "\n"}),
            client.post("/order", json={**ORDER, "client_ref": next(refs), secret: 1}),
            client.get("/book/%00"),
            client.get("/risk/.."),
            client.request("PUT", "/order"),
            client.get("/nowhere"),
        ):
            assert 400 <= answer.status_code < 500
            assert "Traceback" not in answer.text
            assert ".py" not in answer.text
    log = "".join(path.read_text() for path in live.folder.rglob("*.log")) + "".join(
        path.read_text() for path in live.folder.rglob("log.jsonl")
    )
    for token in TOKENS.values():
        assert token not in log
    assert secret not in log
