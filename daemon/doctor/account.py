"""Looks at one account: its configuration, its secrets, its journal and latches, who trades it, and who guards it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio

from core.enums import TradingState
from core.errors import TradingdError
from core.units import NS_PER_MS, NS_PER_SECOND
from core.venue_switch import VenueSwitch
from daemon.config.loader import LoadedConfig
from daemon.config.places import account_folder, key_file
from daemon.control.client import ask
from daemon.control.socket_path import socket_folder
from daemon.doctor.finding import Finding, ok, problem, warning
from daemon.guardian.daemon_hand import DaemonHand
from daemon.guardian.places import guardian_socket
from daemon.guardian.switches import open_switches
from daemon.journal.keys import KEY_FILE, KEY_SECRET, open_signer, state_folder
from daemon.journal.lock import LOCK_FILE
from daemon.kill_latch import LATCH_FILE as KILL_LATCH_FILE
from daemon.promotion.gate import check_promotion
from daemon.secrets import find_secret, read_secret
from daemon.timestamps import iso
from daemon.trading.recovery import recover_run
from daemon.trading.state_folder import RUNS_FOLDER, read_latch
from daemon.trading.venue_opening import secret_names
from daemon.wiring import is_execution_simulated, moves_real_money

# A journal may be ahead of the clock by what its last batch took.
AHEAD_NS_MAX = 100 * NS_PER_MS
VENUE_S_MAX = 10.0


def newest_run(account: Path) -> Path | None:
    """The folder of the run that began last; None where nothing has run."""
    runs = account / RUNS_FOLDER
    try:
        numbers = [int(entry.name) for entry in runs.iterdir() if entry.name.isdigit()]
    except OSError:
        return None
    return runs / f"{max(numbers):06d}" if numbers else None


def look_at_promotion(loaded: LoadedConfig) -> list[Finding]:
    """Nothing where no real money would move."""
    area = "promotion"
    if not moves_real_money(loaded):
        return []
    try:
        check_promotion(loaded, time.time_ns())
    except TradingdError as error:
        return [problem(area, str(error), "docs/PROMOTION.md")]
    return [ok(area, "the configuration may trade live")]


def look_at_secrets(loaded: LoadedConfig) -> list[Finding]:
    config = loaded.config
    names = [name for connection in config.connections for name in secret_names(connection)]
    names += [client.token for client in config.clients]
    if config.alerts.webhook is not None:
        names.append(config.alerts.webhook)
    return [*(_secret(name) for name in dict.fromkeys(names)), _journal_key(loaded)]


def _secret(name: str) -> Finding:
    try:
        read_secret(name)
        place = find_secret(name)
    except TradingdError as error:
        fix = "put it where systemd loads it from (docs/SERVICE.md), or name the folder: TRADINGD_SECRETS_DIR=…"
        return problem("credentials", str(error), fix)
    assert place is not None
    return ok("credentials", f"{name} is in {place.text}")


def _journal_key(loaded: LoadedConfig) -> Finding:
    area = "credentials"
    named = loaded.config.audit.key_file
    file = state_folder() / KEY_FILE
    if named is None and find_secret(KEY_SECRET) is None and not os.environ.get("TRADINGD_JOURNAL_KEY") and not file.exists():
        return ok(area, f"the journal's key will be made in {file.parent} at the first start")
    try:
        public_key = open_signer(key_file(loaded)).public_key
    except TradingdError as error:
        return problem(area, str(error), "see docs/AUDIT.md, The key")
    return ok(area, f"the journal is signed with the key {public_key[:16]}…")


def look_at_journal(account: Path) -> list[Finding]:
    """As a restart would read it, without taking the lock."""
    area = "journal"
    run = newest_run(account)
    if run is None:
        return [ok(area, f"nothing has run in {account} yet")]
    findings = [_holder(account), *_latches(account)]
    try:
        # The newest one may have ended before its first record: then the one before it is what counts, as at a start.
        recovered = next(
            (
                found
                for path in sorted(run.parent.iterdir(), reverse=True)
                if path.name.isdigit() and (found := recover_run(path, int(path.name))) is not None
            ),
            None,
        )
    except (TradingdError, OSError) as error:
        return [*findings, problem(area, f"a start would refuse it: {error}", f"tradingd audit verify {run}")]
    if recovered is None:
        return [*findings, ok(area, f"no run in {account} has come to its first record")]
    text = f"run {recovered.previous_run} reads to its end, {iso(recovered.ts)}: a start reads {recovered.records_read:,} records"
    ahead_ns = recovered.ts - time.time_ns()
    if ahead_ns > AHEAD_NS_MAX:
        text += f"; that is {ahead_ns // NS_PER_SECOND} s ahead of the clock, which has been set back"
        findings.append(problem(area, text, "set the clock right before trading goes on: time in the journal never goes back"))
    elif recovered.problems:
        findings.append(warning(area, f"{text}; it refused {recovered.problems[0]}", f"tradingd audit show {run}"))
    else:
        findings.append(ok(area, text))
    return findings


def _latches(account: Path) -> Iterator[Finding]:
    area = "trading state"
    try:
        latch = read_latch(account)
        kill = (account / KILL_LATCH_FILE).read_bytes()[:400] if (account / KILL_LATCH_FILE).exists() else b"0\n"
    except (TradingdError, OSError) as error:
        yield problem(area, str(error), "see docs/PAPER.md, What is kept")
        return
    line = kill.split(b"\n")[0].decode("utf-8", "replace")
    if not kill.startswith(b"0"):
        yield warning(area, f"killed: {line[2:] or 'the latch is damaged'}", "see why, then: tradingd resume --reason …")
    if latch.state is not TradingState.ACTIVE:
        since = f"since {iso(latch.ts)}" if latch.ts else "since an unknown time"
        yield warning(area, f"{latch.state.name} {since}: {latch.reason}", "see why, then: tradingd resume --reason …")
    elif kill.startswith(b"0"):
        yield ok(area, "ACTIVE")


def _holder(account: Path) -> Finding:
    """Who holds the account's lock: asked of the kernel, since trying it could keep a daemon out that starts right now."""
    area = "lock"
    try:
        found = (account / LOCK_FILE).stat()
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return ok(area, "not taken: no daemon has run here")
    except OSError as error:
        return warning(area, f"who holds it cannot be found out: {error.strerror}", "ask as root, outside the sandbox")
    name = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in lines:
        fields = line.split()
        if fields[1:2] == ["FLOCK"] and fields[5] == name:
            return ok(area, f"held by process {fields[4]}{_command(fields[4])}: a daemon trades this account")
    return ok(area, "free: no daemon trades this account now")


def _command(pid: str) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return ""
    return f" ({b' '.join(words).decode('utf-8', 'replace')[:120]})"


def look_at_guardian(loaded: LoadedConfig) -> Finding:
    area = "guardian"
    name = loaded.config.run.name
    start = f"tradingd guardian {loaded.file}, or the unit tradingd-guardian@"
    try:
        code, content = ask(guardian_socket(name), "GET", "/status")
    except TradingdError:
        text = f"none answers for {name} in {socket_folder()}"
        if loaded.config.guardian.required:
            return problem(area, f"{text}, and guardian.required is set: trading would stay REDUCING", start)
        return warning(area, f"{text}: nothing acts while the daemon hangs or is gone", start)
    if code != 200:
        return problem(area, f"it answers {content.get('error', code)}", "restart it")
    daemon = content.get("daemon", {})
    return ok(area, f"process {content.get('pid')} watches {daemon.get('run_id') or name}: {daemon.get('phase')}")


def look_at_venues(loaded: LoadedConfig) -> list[Finding]:
    """Each venue as the guardian reaches it: log in, ask what is open, log out. Nothing is sent that could change anything."""
    area = "venue"
    try:
        if is_execution_simulated(loaded):
            return [ok(area, "the simulated venue is inside the daemon")]
        switches = open_switches(loaded, DaemonHand(loaded.config.run.name, account_folder(loaded)))
    except TradingdError as error:
        return [problem(area, str(error), "see docs/CONFIG.md, [[connections]]")]
    return anyio.run(_look_at_all, switches)


async def _look_at_all(switches: Sequence[VenueSwitch]) -> list[Finding]:
    return [await _look_at_venue(switch) for switch in switches]


async def _look_at_venue(switch: VenueSwitch) -> Finding:
    area = "venue"
    fix = "is it up, is the address right, are the credentials taken there?"
    began_ns = time.monotonic_ns()
    try:
        with anyio.fail_after(VENUE_S_MAX):
            await switch.open()
            orders = await switch.open_orders()
            taken_ms = (time.monotonic_ns() - began_ns) // NS_PER_MS
            await switch.close()
    except TimeoutError:
        return problem(area, f"{switch.venue}: no answer for {VENUE_S_MAX:g} s", fix)
    except TradingdError as error:
        return problem(area, f"{switch.venue}: {error}", fix)
    return ok(area, f"{switch.venue} answers: {len(orders)} orders open, logged in and asked within {taken_ms} ms")
