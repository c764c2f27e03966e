"""POST /kill against a venue in a process of its own: what the venue's ledger says where the daemon works, hangs or stands."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.api.live import CLIENTS, TOKENS, free_port
from tests.daemon.api.test_processes import call, is_answered
from tests.daemon.api.test_processes import until as until_answered
from tests.daemon.guardian.processes import Place, place, until

pytestmark = pytest.mark.timeout(180)


class ApiPlace:
    def __init__(self, here: Place, port: int) -> None:
        self.here = here
        self.port = port

    def kill(self) -> tuple[int, dict[str, Any]]:
        return call(self.port, "guard", "POST", "/kill", {"reason": "enough"})


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiPlace]:
    port = free_port()
    for name, token in TOKENS.items():
        monkeypatch.setenv(f"TRADINGD_SECRET_{name.upper()}_TOKEN", token)
    with place(tmp_path, more=CLIENTS.format(port=port)) as here:
        here.start_venue()
        yield ApiPlace(here, port)


def assert_dead(here: Place) -> None:
    until(lambda: not here.open_orders(), "the venue has no open order")
    assert here.latch().startswith("1 ")
    assert here.latch().endswith("guard by the API: enough")
    mark = len(here.lines())
    assert here.accepted_since(mark) == []


def test_a_daemon_that_works_is_halted(api: ApiPlace) -> None:
    here = api.here
    here.start_daemon()
    until_answered(lambda: is_answered(api.port))
    status, answer = api.kill()
    assert (status, answer["latched"], answer["daemon"]["content"]["trading_state"]) == (200, True, "HALTED")
    assert answer["command"] is None
    assert_dead(here)


@pytest.mark.parametrize("state", ["hung", "stopped"])
def test_the_guardian_cancels_where_the_daemon_cannot(api: ApiPlace, state: str) -> None:
    here = api.here
    here.start_guardian()
    daemon = here.start_daemon()
    until_answered(lambda: is_answered(api.port))
    if state == "hung":
        here.hang_file.touch()
        until(lambda: here.status() is None, "the daemon hangs")
    else:
        daemon.send_signal(signal.SIGSTOP)
    status, answer = api.kill()
    assert (status, answer["latched"], answer["daemon"]) == (200, True, None)
    assert answer["guardian"]["status"] == 200
    assert_dead(here)


def test_without_a_guardian_the_command_cancels_where_the_daemon_cannot(api: ApiPlace) -> None:
    here = api.here
    daemon = here.start_daemon()
    until_answered(lambda: is_answered(api.port))
    daemon.send_signal(signal.SIGSTOP)
    status, answer = api.kill()
    assert (status, answer["latched"], answer["guardian"], answer["daemon"]) == (200, True, None, None)
    assert answer["command"] is not None
    assert_dead(here)
