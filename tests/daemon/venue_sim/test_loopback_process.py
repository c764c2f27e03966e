"""`tradingd venue-sim NAME` as a user starts it: says where it listens, takes orders, keeps its ledger, ends with SIGTERM."""

from __future__ import annotations

import hashlib
import hmac
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from daemon.exit_codes import ExitCode
from tests.daemon.session import ROOT

WAIT_S = 60


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    code = "import sys; from daemon.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "venue-sim", *arguments]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        running.kill()
        running.wait(WAIT_S)


def signed(base: str, method: str, path: str, params: dict[str, Any]) -> Any:
    stamp = httpx.get(f"{base}/api/v3/time").json()["serverTime"]
    query = urlencode({**params, "timestamp": stamp})
    signature = hmac.new(b"us-secret", query.encode(), hashlib.sha256).hexdigest()
    answer = httpx.request(method, f"{base}{path}?{query}&signature={signature}", headers={"X-MBX-APIKEY": "us-key"})
    return answer.json()


def test_a_double_from_the_command_line(tmp_path: Path) -> None:
    faults, ledger = tmp_path / "faults.toml", tmp_path / "ledger.json"
    faults.write_text("[armed]\n14 = 1\n[ppm]\n49 = 0\n")
    with process("binance-spot", "--seed", "7", "--faults", str(faults), "--ledger", str(ledger), "--json") as running:
        assert running.stdout is not None
        where = json.loads(running.stdout.readline())
        assert where["venue"] == "binance-spot"
        base = f"http://{where['listening']}"
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": "45000"}
        assert signed(base, "POST", "/api/v3/order", {**order, "newClientOrderId": "a"})["code"] == -9999
        assert signed(base, "POST", "/api/v3/order", {**order, "newClientOrderId": "b"})["status"] == "NEW"
        host, _, port = where["control"].rpartition(":")
        with socket.create_connection((host, int(port)), WAIT_S) as line, line.makefile("rw") as file:
            file.write(
                '{"do":"act","name":"manual_cancel","arguments":{"account":"us","client_order_id":"b"}}\n{"do":"ledger"}\n'
            )
            file.flush()
            assert json.loads(file.readline()) == {"ok": True}
            told = json.loads(file.readline())["ledger"]
        running.send_signal(signal.SIGTERM)
        assert running.wait(WAIT_S) == ExitCode.OK
        assert running.stderr is not None
        assert running.stderr.read() == ""
    assert json.loads(ledger.read_bytes()) == told
    assert [row["is_open"] for row in told["orders"] if row["client_order_id"] == "b"] == [False]


@pytest.mark.parametrize("wrong", ["[ppm]\n63 = 1\n", "[armed]\n63 = 1\n", "nonsense"])
def test_a_fault_that_it_does_not_know_is_said_before_anything_listens(tmp_path: Path, wrong: str) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text(wrong)
    with process("binance-usdm", "--faults", str(faults), "--json") as running:
        assert running.wait(WAIT_S) == ExitCode.CONFIG
        assert running.stdout is not None
        assert json.loads(running.stdout.read())["error"]["type"] == "ConfigError"


def test_a_port_that_is_taken_is_said_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with process("binance-spot", "--port", port, "--json") as running:
            assert running.wait(WAIT_S) not in (0, None)
            assert running.stdout is not None
            assert f"port {port}" in json.loads(running.stdout.read())["error"]["message"]
