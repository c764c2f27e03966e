"""`tradingd kill` and the guardian against daemons that hang, are stopped or are gone: what the venue's own ledger says then."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.exit_codes import ExitCode
from tests.daemon.guardian.processes import SECONDS_MAX, Place, place, until

pytestmark = pytest.mark.timeout(400)

ALERTS = '[alerts]\nlog = "alerts.jsonl"'


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    with place(tmp_path, more=ALERTS) as made:
        made.start_venue()
        yield made


def venue_of(content: dict[str, Any]) -> dict[str, Any]:
    (found,) = content["kill"]["venues"]
    assert isinstance(found, dict)
    return found


def assert_dead(here: Place, code: int, content: dict[str, Any]) -> int:
    """Verified, and the venue says so too. Returns how long its ledger is now."""
    assert (code, content["kill"]["verified"]) == (ExitCode.OK, True), content
    assert {key: venue_of(content)[key] for key in ("venue", "can_add_risk", "verified")} == {
        "venue": "SIM",
        "can_add_risk": 0,
        "verified": True,
    }
    assert here.open_orders() == {}
    assert here.latch().startswith("1 ")
    return len(here.lines())


def assert_nothing_came(here: Place, mark: int) -> None:
    assert here.accepted_since(mark) == []
    assert here.open_orders() == {}


@pytest.mark.parametrize("with_guardian", [True, False], ids=["guardian", "alone"])
def test_a_daemon_that_answers_is_halted_and_lives(here: Place, with_guardian: bool) -> None:
    if with_guardian:
        here.start_guardian()
    daemon = here.start_daemon()
    code, content = here.kill("--reason", "odd fills")
    mark = assert_dead(here, code, content)
    assert content["kill"]["daemon"] == "halted"
    assert content["by"].startswith("guardian" if with_guardian else "this command")
    status = until(here.status, "the daemon answers")
    assert (status["trading_state"], daemon.poll()) == ("HALTED", None)
    assert_nothing_came(here, mark)


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Place]:
    """With a short time to answer in."""
    with place(tmp_path, more=f'{ALERTS}\n[guardian]\nfence_after = "1s"') as made:
        made.start_venue()
        yield made


@pytest.mark.parametrize("with_guardian", [True, False], ids=["guardian", "alone"])
@pytest.mark.parametrize("state", ["hung", "stopped"])
def test_a_daemon_that_does_not_answer_is_ended(strict: Place, state: str, with_guardian: bool) -> None:
    here = strict
    if with_guardian:
        here.start_guardian()
    daemon = here.start_daemon()
    if state == "hung":
        here.hang_file.touch()
    else:
        daemon.send_signal(signal.SIGSTOP)
    code, content = here.kill()
    mark = assert_dead(here, code, content)
    # A stopped one that is continued would send what it had decided: it is not there any more to be continued.
    daemon.send_signal(signal.SIGCONT)
    assert (content["kill"]["daemon"], daemon.wait(SECONDS_MAX)) == ("killed", -signal.SIGKILL)
    assert_nothing_came(here, mark)


@pytest.mark.parametrize("with_guardian", [True, False], ids=["guardian", "alone"])
def test_a_daemon_that_is_gone_leaves_nothing_open(here: Place, with_guardian: bool) -> None:
    guardian = here.start_guardian() if with_guardian else None
    daemon = here.start_daemon()
    daemon.kill()
    daemon.wait()
    if guardian is not None:
        # Nobody has to ask for it.
        until(lambda: "kill_verified" in here.kinds(), "the guardian kills by itself")
        status = here.guardian_status()
        assert status is not None
        assert status["kill"]["trigger"] == "daemon_gone"
    code, content = here.kill()
    assert_dead(here, code, content)
    assert content["kill"]["daemon"] == "gone"


def test_a_daemon_that_hangs_is_killed_for_its_silence(tmp_path: Path) -> None:
    with place(tmp_path, more=f'{ALERTS}\n[guardian]\nheartbeat_timeout = "6s"\nfence_after = "1s"') as here:
        here.start_venue()
        here.start_guardian()
        daemon = here.start_daemon()
        here.hang_file.touch()
        assert daemon.wait(SECONDS_MAX) == -signal.SIGKILL
        until(lambda: "kill_verified" in here.kinds(), "it is verified")
        status = here.guardian_status()
        assert status is not None
        assert status["kill"]["trigger"] == "heartbeat_lost"
        assert here.open_orders() == {}


@pytest.mark.parametrize("trigger", ["signal", "file"])
def test_a_signal_and_a_file_kill(here: Place, trigger: str) -> None:
    guardian = here.start_guardian()
    here.start_daemon()
    kill_file = here.folder / "state" / "session" / "KILL"
    if trigger == "signal":
        guardian.send_signal(signal.SIGUSR1)
    else:
        kill_file.write_text("odd \x1b[31mfills\n")
    until(lambda: "kill_verified" in here.kinds(), "it is verified")
    status = here.guardian_status()
    assert status is not None
    reason = "SIGUSR1" if trigger == "signal" else "KILL: odd fills"
    assert (status["kill"]["trigger"], status["kill"]["reason"]) == (trigger, reason)
    assert here.open_orders() == {}
    if trigger == "file":
        # While the file is there a resume does not hold.
        assert here.tradingd("resume", "--reason", "too early").returncode == 0
        until(lambda: here.kinds().count("kill_cleared") and here.latch().startswith("1"), "it is killed again")
        kill_file.unlink()


def test_after_a_resume_it_trades_again_and_can_be_killed_again(here: Place) -> None:
    here.start_guardian()
    here.start_daemon()
    assert_dead(here, *here.kill())
    assert here.tradingd("resume", "--reason", "seen to it").returncode == 0
    until(lambda: len(here.open_orders()) >= 20, "orders rest again")
    assert here.latch() == "0"
    mark = assert_dead(here, *here.kill())
    # Twice in a row: the second finds everything done.
    assert_dead(here, *here.kill())
    assert_nothing_came(here, mark)


def test_the_latch_outlives_everything(here: Place) -> None:
    guardian, daemon = here.start_guardian(), here.start_daemon()
    assert_dead(here, *here.kill("--reason", "for good"))
    guardian.kill()
    guardian.wait()
    daemon.kill()
    daemon.wait()
    # The guardian alone: it finds the latch set, and guards.
    here.start_guardian()
    kill = until(lambda: (here.guardian_status() or {}).get("kill"), "it kills")
    assert kill["trigger"] == "latch"
    here.start_daemon(orders=0)
    until(lambda: (here.status() or {}).get("phase") == "running", "the daemon runs again")
    status = until(here.status, "it answers")
    assert (status["trading_state"], here.open_orders()) == ("HALTED", {})
    assert "for good" in here.latch()


def test_what_appears_while_the_latch_is_set_is_canceled(here: Place) -> None:
    """Somebody trades past it: a daemon of another account folder, at the same venue."""
    here.start_guardian()
    daemon = here.start_daemon()
    assert_dead(here, *here.kill())
    daemon.terminate()
    assert daemon.wait(SECONDS_MAX) == 0
    mark = len(here.lines())
    here.start("paper", str(here.config), "--set", "daemon.state_folder=elsewhere", "--set", "run.name=other")
    until(lambda: here.accepted_since(mark), "the stranger's orders come")
    until(lambda: "order_after_kill" in here.kinds(), "the guardian sees them")
    until(lambda: any(line["kind"] == "cancel_everything" for line in here.lines()[mark:]), "and cancels")


def test_flatten_closes_what_is_held(tmp_path: Path) -> None:
    with place(tmp_path, more=f'{ALERTS}\n[guardian]\nfence_after = "1s"', position=30) as here:
        here.start_venue()
        here.start_guardian()
        daemon = here.start_daemon()
        until(lambda: here.position() == 30, "it holds a position")
        daemon.send_signal(signal.SIGSTOP)
        code, content = here.kill("--flatten")
        assert_dead(here, code, content)
        assert (here.position(), venue_of(content)["positions"]) == (0, {})


def test_a_venue_that_is_away_is_said_and_done_when_it_is_back(here: Place) -> None:
    here.start_guardian()
    here.start_daemon()
    venue = here.venue
    venue.send_signal(signal.SIGSTOP)
    code, content = here.kill("--wait", "3s")
    assert (code, content["kill"]["verified"]) == (ExitCode.UNVERIFIED, False)
    assert here.latch().startswith("1 ")
    venue.send_signal(signal.SIGCONT)
    until(lambda: "kill_verified" in here.kinds(), "it is done once the venue is back")
    assert here.open_orders() == {}


def test_a_clean_stop_is_no_reason_to_kill(here: Place) -> None:
    here.start_guardian()
    daemon = here.start_daemon()
    daemon.terminate()
    assert daemon.wait(SECONDS_MAX) == 0

    def has_ended() -> bool:
        status = here.guardian_status()
        return status is not None and status["daemon"]["phase"] == "ended" and status["daemon"]["pid"] is None

    until(has_ended, "the guardian knows")
    assert here.latch() == "0"
    assert "kill" not in here.kinds()


def test_a_guardian_that_is_killed_and_comes_back_takes_a_hung_daemon_for_one(tmp_path: Path) -> None:
    with place(tmp_path, more=f'{ALERTS}\n[guardian]\nheartbeat_timeout = "6s"\nfence_after = "1s"') as here:
        here.start_venue()
        guardian, daemon = here.start_guardian(), here.start_daemon()
        guardian.kill()
        guardian.wait()
        here.hang_file.touch()
        here.start_guardian()
        assert daemon.wait(SECONDS_MAX) == -signal.SIGKILL
        until(lambda: here.open_orders() == {}, "nothing is open")


def test_the_guardian_says_farewell_when_the_daemon_goes_on_without_it(here: Place) -> None:
    guardian, daemon = here.start_guardian(), here.start_daemon()
    guardian.terminate()
    assert (guardian.wait(SECONDS_MAX), daemon.poll()) == (0, None)
    assert here.alerts()[-1]["kind"] == "guardian_stopped"
    until(lambda: b"guardian_lost" in (here.folder / "paper.log").read_bytes(), "the daemon misses it")


def test_a_required_guardian_holds_trading(tmp_path: Path) -> None:
    with place(tmp_path, more=f'{ALERTS}\n[guardian]\nrequired = true\nlost_after = "2s"') as here:
        here.start_venue()
        here.start_daemon(orders=0)
        status = until(here.status, "it answers")
        until(lambda: (here.status() or {}).get("phase") == "running", "it runs")
        status = until(here.status, "it answers")
        assert (status["trading_state"], here.open_orders()) == ("REDUCING", {})
        refused = here.tradingd("resume", "--reason", "never mind")
        assert (refused.returncode, "no guardian has answered" in refused.stderr) == (ExitCode.REFUSED, True)
        guardian = here.start_guardian()
        until(lambda: here.tradingd("resume", "--reason", "it is there").returncode == 0, "it may trade")
        until(here.open_orders, "it trades")
        guardian.kill()
        until(lambda: (here.status() or {}).get("trading_state") == "REDUCING", "it is held again")


def test_a_second_guardian_of_an_account_is_refused(here: Place) -> None:
    here.start_guardian()
    second: subprocess.Popen[bytes] = here.start("guardian", str(here.config))
    assert second.wait(SECONDS_MAX) == ExitCode.STORAGE
    assert here.guardian_status() is not None


def test_the_embedded_venue_is_verified_through_the_daemon(tmp_path: Path) -> None:
    with place(tmp_path, more=f'{ALERTS}\n[guardian]\nfence_after = "8s"', connected=False) as here:
        here.start_guardian()
        daemon = here.start_daemon(orders=0)
        until(lambda: (here.status() or {}).get("open_orders", 0) >= 20, "orders rest")
        code, content = here.kill()
        assert (code, content["kill"]["daemon"]) == (ExitCode.OK, "halted")
        assert (here.status() or {})["open_orders"] == 0
        daemon.send_signal(signal.SIGSTOP)
        code, content = here.kill()
        assert (code, content["kill"]["daemon"]) == (ExitCode.OK, "killed")


def test_a_kill_while_the_daemon_reconnects(here: Place) -> None:
    """The venue dies and comes back: until it is back nothing is verified, and what the daemon had open is not sent again."""
    here.start_guardian()
    daemon = here.start_daemon()
    here.venue.kill()
    here.venue.wait()
    code, content = here.kill("--wait", "2s")
    assert (code, content["kill"]["daemon"], content["kill"]["verified"]) == (ExitCode.UNVERIFIED, "halted", False)
    mark = len(here.lines())
    here.start_venue()
    until(lambda: "kill_verified" in here.kinds(), "it is done once the venue is back")
    until(lambda: b"reconnected" in (here.folder / "paper.log").read_bytes(), "the daemon is back at the venue too")
    status = until(here.status, "the daemon answers")
    assert (status["trading_state"], daemon.poll()) == ("HALTED", None)
    assert_nothing_came(here, mark)
