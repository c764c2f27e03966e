"""The real units under a real systemd: ready, hanging, killed, latched, stopped, refused; each test has an account of its own."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from core.events import OrderCanceled, Reconciled, Started, StateRestored, VenueCompared
from daemon.exit_codes import ExitCode
from daemon.journal.tail import TailReader
from tests.daemon.session import CONFIG
from tests.systemd.machine import INSTALLED, UNIT_FOLDER, Machine, as_seen_by, why_not

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"no systemd can be booted here: {REASON}")

ACCOUNTS = ("guarded", "api", "venue", "first", "hang", "killed", "loop", "closed", "broken", "unsecret", "slow-heart")
SLEEPER = '[[strategies]]\nid = "sleeper"\nclass = "tests.systemd.sleeper:Sleeper"\n'


class Account:
    """One instance of tradingd@.service on the machine."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine = machine
        self.name = name
        self.unit = f"tradingd@{name}.service"
        self._environment = {"TRADINGD_RUNTIME_DIR": f"/run/private/tradingd/{name}"}

    @property
    def folder(self) -> Path:
        return self.machine.path(f"/var/lib/private/tradingd/{self.name}")

    def show(self, *properties: str) -> dict[str, str]:
        return self.machine.show(self.unit, *properties)

    def start(self) -> None:
        done = self.machine.run("systemctl", "start", self.unit)
        assert done.returncode == 0, self.everything()

    def tradingd(self, *arguments: str) -> dict[str, Any]:
        done = self.machine.run(f"{INSTALLED}/bin/tradingd", *arguments, "--json", env=self._environment)
        assert done.returncode == 0, (done, self.everything())
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def kill(self) -> None:
        assert self.machine.run("systemctl", "kill", "--signal=KILL", self.unit).returncode == 0

    def wait_for_restart(self, count: int) -> None:
        """Until systemd has started it `count` times by itself, and it has said that it is ready."""
        expected = {"NRestarts": str(count), "ActiveState": "active", "SubState": "running"}
        self.machine.wait_until(lambda: self.show(*expected) == expected)

    def wait_for_order(self) -> None:
        self.machine.wait_until(lambda: bool(self.tradingd("status")["open_orders"] == 1))

    def records(self, run: int) -> list[Any]:
        return list(TailReader(self.folder / f"state/session/runs/{run:06d}/journal"))

    def log(self) -> str:
        """What the service has printed."""
        return self.machine.read(f"/run/log/tradingd@{self.name}")

    def everything(self) -> str:
        return f"{self.machine.console()}\n{self.log()}\n{self.machine.systemctl('status', self.unit)}"


LIBRARIES = {"LD_LIBRARY_PATH": f"{INSTALLED}/python/lib"}
# As it is shipped, from the checkout that the machine has.
ACCOUNT_TOOL = ("sh", f"{INSTALLED}/checkout/systemd/tradingd-account")
KEY = Ed25519PrivateKey.generate()
TOKEN = secrets.token_urlsafe(32)
API_PORT, VENUE_PORT = 18_720, 18_721  # the machine has a network of its own
ASK = """
import sys, urllib.request
asked = urllib.request.Request(sys.argv[1], headers={"Authorization": f"Bearer {sys.argv[2]}"})
print(urllib.request.urlopen(asked, timeout=10).read().decode())
"""
VENUE = f"""
[[connections]]
venue = "SIM"
adapter = "sim"
address = "127.0.0.1:{VENUE_PORT}"

[daemon]
venue_wait = "1h"
"""
VENUE_UNIT = f"""
[Service]
ExecStart={INSTALLED}/bin/tradingd venue-sim sim --config /etc/tradingd/venue.toml --ledger /run/ledger.jsonl
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    made = Machine()
    market = CONFIG.partition("[[strategies]]")[0].replace("seed = 3", 'seed = 3\nmode = "paper"')
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for name in ACCOUNTS:
        made.write(f"/etc/tradingd/{name}.toml", f"{market}{SLEEPER}")
        made.write(f"/etc/tradingd/{name}.guardian-secrets/webhook", "https://127.0.0.1:1/", 0o600)
        if name != "guarded":
            made.mask(f"tradingd-guardian@{name}.service")
        if name != "unsecret":
            made.write(f"/etc/tradingd/{name}.secrets/journal_key", pem, 0o600)
    made.write("/etc/tradingd/no-folder.toml", f"{market}{SLEEPER}")
    made.mask("tradingd-guardian@no-folder.service")
    made.write("/etc/tradingd/guarded.toml", f'{market}{SLEEPER}[guardian]\nheartbeat_timeout = "2s"\nrequired = true\n')
    client = '[[clients]]\nid = "desk"\ntoken = "desk"\nscopes = ["read"]\ninstruments = ["ACME.SIM"]\n'
    made.write("/etc/tradingd/api.toml", f"{market}{SLEEPER}{client}[api]\nenabled = true\nport = {API_PORT}\n")
    made.write("/etc/tradingd/api.secrets/desk", TOKEN, 0o600)
    made.write("/etc/tradingd/venue.toml", f"{market}{SLEEPER}{VENUE}")
    made.write(f"{UNIT_FOLDER}/venue-sim.service", VENUE_UNIT)
    made.write("/etc/tradingd/broken.toml", f"{market}{SLEEPER}[risky]\n")
    made.write("/etc/tradingd/slow-heart.toml", f'{market}{SLEEPER}[daemon]\nheartbeat_interval = "4s"\n')
    made.write("/etc/tradingd/unsecret.secrets/journal_key", "not a key", 0o600)
    # What the tests wait for comes sooner; the rest of the unit is as it is shipped.
    for name in ("hang", "killed", "loop", "venue"):
        made.drop_in(f"tradingd@{name}.service", "RestartSec=100ms")
    with made:
        yield made


def test_ready_is_said_after_reconciliation_and_a_stop_ends_in_order(machine: Machine) -> None:
    account = Account(machine, "first")
    # Twice: the first start makes the folder in which the second one is held.
    account.start()
    account.wait_for_order()
    assert machine.run("systemctl", "stop", account.unit).returncode == 0
    ended = {"ActiveState": "inactive", "SubState": "dead", "Result": "success", "ExecMainStatus": "0"}
    assert account.show(*ended) == ended, account.everything()
    # The secret reached the process: its journal is signed by that key, to its end.
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (account.folder / "journal.pub").write_bytes(public)
    folder = f"/var/lib/private/tradingd/{account.name}"
    verified = account.tradingd("audit", "verify", f"{folder}/state/session/runs/000001", "--key", f"{folder}/journal.pub")
    assert verified["verdict"] == "whole", verified

    (account.folder / "hold").touch()
    machine.run("systemctl", "start", "--no-block", account.unit)
    machine.wait_until((account.folder / "held").exists)
    # What the run before left has been read, the venue has been asked, and the strategy is being told of it: not ready yet.
    assert account.show("ActiveState", "SubState") == {"ActiveState": "activating", "SubState": "start"}
    assert account.show("StatusText")["StatusText"].startswith("starting: ")
    (account.folder / "hold").unlink()
    account.wait_for_restart(0)
    machine.wait_until(lambda: account.show("StatusText")["StatusText"].startswith("session-2 ACTIVE, 1 orders open"))


def test_one_that_is_killed_recovers_before_it_is_ready(machine: Machine) -> None:
    account = Account(machine, "killed")
    account.start()
    account.wait_for_order()
    account.kill()
    account.wait_for_restart(1)
    records = account.records(2)
    first = records[: 1 + next(place for place, record in enumerate(records) if isinstance(record, Reconciled))]
    # The order that rested is in the state, and gone with the market it rested in, before the strategy hears of anything.
    assert [type(record) for record in first] == [StateRestored, OrderCanceled, VenueCompared, Started, Reconciled]
    assert isinstance(first[0], StateRestored)
    assert first[0].previous_run == 1


def test_it_is_not_ready_before_its_venue_and_an_order_that_rests_there_is_taken_over_after_sigkill(machine: Machine) -> None:
    account = Account(machine, "venue")
    machine.run("systemctl", "start", "--no-block", account.unit)
    machine.wait_until(lambda: account.show("StatusText")["StatusText"].startswith("starting: waiting for a venue: "))
    assert account.show("ActiveState", "SubState") == {"ActiveState": "activating", "SubState": "start"}
    machine.run("systemctl", "start", "venue-sim")
    account.wait_for_restart(0)
    account.wait_for_order()
    before = account.tradingd("orders")["orders"]
    account.kill()
    account.wait_for_restart(1)
    after = account.tradingd("orders")["orders"]
    assert [order["order_id"] for order in after] == [order["order_id"] for order in before]
    # Asked for before READY, and nothing was canceled or sent.
    kinds = [type(record).__name__ for record in account.records(2)]
    assert kinds[: kinds.index("Reconciled") + 1] == ["StateRestored", "VenueCompared", "Started", "Reconciled"]


def test_a_hang_is_ended_by_the_watchdog_and_a_latched_halt_survives_that_and_sigkill(machine: Machine) -> None:
    account = Account(machine, "hang")
    account.start()
    account.wait_for_order()
    assert account.tradingd("halt", "--reason", "odd fills")["trading_state"] == "HALTED"
    (account.folder / "hang").touch()
    account.wait_for_restart(1)
    after_watchdog = account.tradingd("status")
    assert f"{account.unit}: Watchdog timeout (limit 10s)!" in machine.console()
    # Where it stood is in the log.
    assert re.search(r'tests/systemd/sleeper.py", line \d+ in on_quote\n', account.log())
    account.kill()
    account.wait_for_restart(2)
    after_kill = account.tradingd("status")
    found = [(s["run_id"], s["trading_state"], s["trading_state_reason"], s["open_orders"]) for s in (after_watchdog, after_kill)]
    assert found == [("session-2", "HALTED", "odd fills", 0), ("session-3", "HALTED", "odd fills", 0)]
    account.tradingd("resume", "--reason", "seen to it")
    account.wait_for_order()


@pytest.mark.slow
def test_one_that_keeps_dying_stays_down(machine: Machine) -> None:
    account = Account(machine, "loop")
    account.start()
    for restarts in range(1, 5):
        account.kill()
        account.wait_for_restart(restarts)
    account.kill()
    machine.wait_until(lambda: account.show("ActiveState")["ActiveState"] == "failed")
    assert "Start request repeated too quickly." in machine.console()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "risky"),
        ("slow-heart", "daemon.heartbeat_interval (4s) does not fit the unit's WatchdogSec (10s)"),
        ("unsecret", "secret_journal_key: is no PEM file of a private key"),
    ],
)
def test_what_a_person_has_to_put_right_is_not_started_again(machine: Machine, name: str, message: str) -> None:
    account = Account(machine, name)
    assert machine.run("systemctl", "start", account.unit).returncode != 0
    failed = {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": str(int(ExitCode.CONFIG)), "NRestarts": "0"}
    assert account.show(*failed) == failed, account.everything()
    assert message in account.log()


def test_an_account_without_its_folder_of_secrets_is_not_started_again(machine: Machine) -> None:
    account = Account(machine, "no-folder")
    assert machine.run("systemctl", "start", account.unit).returncode != 0
    failed = {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "243", "NRestarts": "0"}
    assert account.show(*failed) == failed, account.everything()


def test_it_runs_as_closed_as_the_unit_says(machine: Machine) -> None:
    account = Account(machine, "closed")
    account.start()
    account.wait_for_order()
    pid = account.show("MainPID")["MainPID"]
    status = dict(line.split(":\t", 1) for line in machine.run("cat", f"/proc/{pid}/status").stdout.splitlines() if ":\t" in line)
    assert (status["CapEff"], status["CapBnd"], status["NoNewPrivs"], status["Seccomp"]) == ("0" * 16, "0" * 16, "1", "2")
    assert status["Uid"].split() != ["0"] * 4
    # The event loop, the native book and numpy are at work, and no memory is writable and executable at once.
    maps = machine.run("cat", f"/proc/{pid}/maps").stdout
    assert all(name in maps for name in ("uvloop/loop", "native/_native", "numpy/"))
    assert not [line for line in maps.splitlines() if line.split()[1].startswith("rwx")]
    # Wherever its own user may write, nothing can be run; every other file system is read-only or holds nothing of that user's.
    mine = f"/var/lib/private/tradingd/{account.name}", f"/run/private/tradingd/{account.name}", "/tmp", "/var/tmp", "/dev/shm"
    options = {
        fields[4]: set(fields[5].split(","))
        for fields in map(str.split, machine.run("cat", f"/proc/{pid}/mountinfo").stdout.splitlines())
    }
    assert {place: {"rw", "noexec", "nosuid"} - options[place] for place in mine} == {place: set() for place in mine}
    assert {place for place in ("/", "/var/lib", "/var/lib/private", "/run/private") if "ro" not in options[place]} == set()
    # Its folders are its own.
    assert [oct(path.stat().st_mode) for path in (account.folder, *account.folder.rglob("*.sock"))] == ["0o40700"]
    # Other accounts' state and secrets are not there at all.
    shared = ("/var/lib/private/tradingd", "/run/credentials", "/run/private/tradingd")
    listed = machine.run("ls", *(as_seen_by(pid, place) for place in shared)).stdout.split()
    assert set(listed) == {account.name, account.unit, *(f"{as_seen_by(pid, place)}:" for place in shared)}


def test_the_api_works_in_there_and_ends_with_the_daemon(machine: Machine) -> None:
    account = Account(machine, "api")
    account.start()
    answers: list[dict[str, Any]] = []

    def answered() -> bool:
        # It is started beside the daemon, and is ready later.
        done = machine.run(
            f"{INSTALLED}/bin/python",
            "-c",
            ASK,
            f"http://127.0.0.1:{API_PORT}/status",
            TOKEN,
            env={"LD_LIBRARY_PATH": f"{INSTALLED}/python/lib"},
        )
        answers.extend(json.loads(line) for line in done.stdout.splitlines())
        return done.returncode == 0

    machine.wait_until(answered)
    assert answers[0]["run_id"] == "session-1"
    assert machine.run("systemctl", "stop", account.unit).returncode == 0
    ended = {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    assert account.show(*ended) == ended, account.everything()
    assert not answered()


def test_the_guardian_runs_beside_it_kills_it_when_it_stands_still_and_keeps_its_books_to_itself(machine: Machine) -> None:
    account = Account(machine, "guarded")
    unit = "tradingd-guardian@guarded.service"
    account.start()
    account.wait_for_order()
    active = {"ActiveState": "active", "SubState": "running", "NRestarts": "0"}
    assert machine.show(unit, *active) == active
    machine.wait_until(lambda: machine.show(unit, "StatusText")["StatusText"] == "session-1: daemon running")

    daemon, guardian = (machine.show(name, "MainPID")["MainPID"] for name in (account.unit, unit))
    books = f"var/lib/private/tradingd-guardian/{account.name}/session"
    machine.wait_until(lambda: machine.run("cat", f"/{books}/heads.jsonl").stdout != "")
    # The same user, and yet neither its folder nor its process is open to the daemon.
    uid, gid = (machine.run("stat", "--format", what, f"/proc/{daemon}").stdout.strip() for what in ("%u", "%g"))
    as_daemon = ("nsenter", "--target", daemon, "--mount", "--user", "--setuid", uid, "--setgid", gid)
    assert machine.run(*as_daemon, "ls", "/var/lib/private/tradingd").stdout.split() == [account.name]
    for place in (f"/{books}/heads.jsonl", as_seen_by(guardian, f"{books}/heads.jsonl"), f"/proc/{guardian}/environ"):
        assert machine.run("cat", place).returncode == 0, place
        assert machine.run(*as_daemon, "cat", place).returncode != 0, place
    # Its secrets are not the daemon's, nor the other way round.
    for pid, names in ((daemon, ["secret_journal_key"]), (guardian, ["secret_webhook"])):
        credentials = machine.run("sh", "-c", f"ls {as_seen_by(pid, 'run/credentials')}/*").stdout.split()
        assert credentials == names

    # The doctor finds all of it where the service stands.
    done = machine.run(*ACCOUNT_TOOL, account.name, "doctor", f"/etc/tradingd/{account.name}.toml", "--json")
    found = [(each["area"], each["found"]) for each in json.loads(done.stdout)["findings"] if each["status"] == "ok"]
    assert ("clock", "not set since the boot") in found
    assert ("guardian", f"process {guardian} watches session-1: running") in found
    assert ("permissions", f"/var/lib/private/tradingd/{account.name}/state/session belongs to user {uid}, mode 0700") in found
    assert dict(found)["lock"].startswith(f"held by process {daemon} (")

    machine.run("kill", "-STOP", daemon)
    account.wait_for_restart(1)
    status = account.tradingd("status")
    assert (status["trading_state"], status["open_orders"]) == ("HALTED", 0)
    killed = account.tradingd("kill", "--run", status["run_id"], "--reason", "the test asks again")
    assert killed["kill"]["verified"], killed
    assert machine.show(unit, *active) == active

    machine.run("systemctl", "kill", "--signal=KILL", unit)
    active["NRestarts"] = "1"
    machine.wait_until(lambda: machine.show(unit, *active) == active)
    machine.wait_until(lambda: "the kill latch is set" in machine.show(unit, "StatusText")["StatusText"])
    assert account.show("NRestarts") == {"NRestarts": "1"}
