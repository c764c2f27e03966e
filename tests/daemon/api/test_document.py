"""docs/API.md holds every endpoint, scope, metric and bound that there is, and what it shows can be done as it stands."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from core.clients import REFS_KEPT_MAX
from daemon.api import gate, server, sockets
from daemon.api.metrics import ApiMetrics
from daemon.api.tokens import KILL, OPERATE, READ, TRADE, Caller
from daemon.config.loader import load_config
from daemon.config.models_api import Api
from daemon.trading import stream
from daemon.trading.wiring import check_config
from tests.daemon.api.live import TOKENS, live_api
from tests.daemon.api.test_gate import client
from tests.daemon.api.test_schema import OPERATIONS, SCHEMA
from tests.daemon.session import CONFIG, ROOT, write_config

TEXT = (ROOT / "docs" / "API.md").read_text(encoding="utf-8")


def test_every_endpoint_is_in_the_document() -> None:
    named = set(re.findall(r"^\| `(GET|POST) (/[^`]+)` \|", TEXT, re.MULTILINE)) - {("GET", "/docs")}
    assert named == {(method, path.replace(":path", "")) for method, path in OPERATIONS}
    for path in ("/ws/md", "/ws/fills/{client_id}", "/docs", "/openapi.json", "/stream"):
        assert path in TEXT


def test_every_field_of_an_order_is_in_the_document() -> None:
    fields = SCHEMA.raw_schema["components"]["schemas"]["OrderRequest"]["properties"]
    (line,) = [line for line in TEXT.splitlines() if line.startswith("| `POST /order` |")]
    assert set(line.rpartition(": ")[2].removesuffix(" |").split(", ")) == set(fields)


def test_the_table_of_scopes_is_the_one_that_holds() -> None:
    rows = re.findall(r"^\| (read|trade|kill|operate) \| (.*) \|$", TEXT, re.MULTILINE)
    table = {name: [cell.strip() == "yes" for cell in cells.split("|")] for name, cells in rows}
    order = (READ, TRADE, KILL, OPERATE)
    assert table == {name: [scope in Caller(client(scopes=(name,))).may for scope in order] for name in order}


def test_every_metric_is_in_the_document() -> None:
    metrics = ApiMetrics()
    metrics.answered("/order", 200)
    metrics.refused("host")
    metrics.websockets.labels("md").inc()
    numbers = (
        "events",
        "commands",
        "orders_sent",
        "fills",
        "cash_moves",
        "conflated",
        "journal_records",
        "open_orders",
        "queue_depth",
    )
    more = ("queue_depth_max", "timers", "streams", "event_lag_us", "event_lag_us_max")
    text = metrics.text({**dict.fromkeys((*numbers, *more), 1), "trading_state": "ACTIVE"}).decode()
    names = {name for name in re.findall(r"^# TYPE (\w+)", text, re.MULTILINE) if not name.endswith("_created")}
    assert names == set(re.findall(r"\btradingd_[a-z_]+\b", TEXT[TEXT.index("## Metrics") :]))


def test_every_bound_is_in_the_document() -> None:
    for number, words in (
        (REFS_KEPT_MAX, "The last 10,000 names"),
        (gate.JSON_DEPTH_MAX, "nested 8 deep"),
        (server.HEAD_BYTES_MAX, "8,192 bytes"),
        (gate.HEADERS_MAX, "64 headers"),
        (gate.PATH_BYTES_MAX, "512 bytes each"),
        (gate.QUERY_BYTES_MAX, "512 bytes each"),
        (int(server.REQUEST_SECONDS_MAX), "within 10 s"),
        (server.MESSAGE_BYTES_MAX, "1,024 bytes a message"),
        (server.RECEIVED_BYTES_MAX // 1024, "64 KiB in 10 s"),
        (server.UNREAD_BYTES_MAX // 2**20, "1 MiB unread"),
        (int(sockets.SEND_SECONDS_MAX), "does not read for 5 s"),
        (stream.FILLS_WAITING_MAX, "10,000 fills waiting"),
        (stream.FILLS_KEPT_MAX, "at most 1,000"),
    ):
        assert f"{number:,}" in words
        assert words in TEXT.replace("\n", " "), words
    assert f"127.0.0.1:{Api().port}" in TEXT


def test_the_configuration_in_the_document_can_be_used(tmp_path: Path) -> None:
    tables = TEXT.partition("```toml\n")[2].partition("```")[0]
    check_config(load_config(write_config(tmp_path, CONFIG + tables), ['run.mode="paper"']))


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_the_curl_line_in_the_document_sends_an_order(tmp_path: Path) -> None:
    line = TEXT.partition("```sh\n")[2].partition("```")[0]
    with live_api(tmp_path) as live:
        done = subprocess.run(
            ["sh", "-c", line.replace(f":{Api().port}/", f":{live.port}/")],
            env={"TRADINGD_TOKEN": TOKENS["alice"], "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert '"client_ref":"first"' in done.stdout
        assert '"status":"SUBMITTED"' in done.stdout
