"""`tradingd kill`: asks the guardian; where none answers, does by itself what the guardian would do.

It must be quick and must work when nothing else does: what is imported before the flag is up is little, and of the configuration
only two keys have to be readable.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import time
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import ConfigError, TransportError
from daemon.control.socket_path import SUFFIX, sockets_present
from daemon.exit_codes import ExitCode
from daemon.guardian.places import (
    CARD_FILE,
    card_in_control_folder,
    cards_present,
    guardian_socket,
    guardians_present,
    name_of_run,
)

ANSWER_S_MAX = 1.0  # a guardian that does not take a kill within this time is as good as none
LONG_ANSWER_S_MAX = 6.0
REPLY_BYTES_MAX = 1 << 20
CONFIG_BYTES_MAX = 1 << 20
STATE_FOLDER = "state"  # the default of daemon.state_folder
LATCH_FILE = "kill_latch"


class Target(NamedTuple):
    """One account. `account_folder` None: nobody has said where it is."""

    name: str
    account_folder: Path | None
    config: Path | None
    overrides: tuple[str, ...] = ()


def kill(options: argparse.Namespace) -> int:
    started_ns = time.monotonic_ns()
    wait_s = _seconds(options.wait)
    target = _target(options)
    content = _by_guardian(target, options, started_ns + int(wait_s * 1e9))
    if content is None:
        content = _by_ourselves(target, options, wait_s, started_ns)
    print(json.dumps(content) if options.json else _text(content))
    return ExitCode.OK if content["kill"]["verified"] else ExitCode.UNVERIFIED


# Who is meant.


def _target(options: argparse.Namespace) -> Target:
    """Raises ConfigError for a configuration that does not even say which account, TransportError where there is nobody."""
    if options.config is not None:
        return _target_of_config(Path(options.config))
    name = _account_of(options.run) if options.run is not None else _only_account()
    return _target_of_card(name, None)


def _account_of(run: str) -> str:
    """Of a run_id; the account's own name is understood too, also where it ends as a run_id does."""
    is_name = card_in_control_folder(run).exists() or guardian_socket(run).exists()
    return run if is_name else name_of_run(run)


def _only_account() -> str:
    running = {name_of_run(path.name.removesuffix(SUFFIX)) for path in sockets_present() if _listens(path)}
    guarded = {name for name in guardians_present() if _listens(guardian_socket(name))}
    # A daemon that has ended in order, and that nobody guards, is not meant.
    left = {name for name in cards_present() if _card(card_in_control_folder(name), name).get("phase") not in (None, "ended")}
    names = sorted(running | guarded | left)
    if len(names) == 1:
        return names[0]
    if not names:
        raise TransportError("no daemon and no guardian is known here; name the configuration: tradingd kill CONFIG")
    raise TransportError(f"several accounts are known here; say which with --run: {', '.join(names)}")


def _target_of_config(path: Path) -> Target:
    # Slow to load, and not needed where the daemon is known.
    import tomllib

    try:
        with path.open("rb") as file:
            table = tomllib.loads(file.read(CONFIG_BYTES_MAX).decode("utf-8-sig"))
        name = table["run"]["name"]
        folder = table.get("daemon", {}).get("state_folder", STATE_FOLDER)
        if not isinstance(name, str) or not isinstance(folder, str):
            raise TypeError("run.name and daemon.state_folder are text")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: does not say which account it is ({error}); kill it with --run RUN_ID") from None
    return _target_of_card(name, Target(name, Path(folder).absolute() / name, path))


def _target_of_card(name: str, configured: Target | None) -> Target:
    """What the daemon itself has left of its place counts before what is thought of it here."""
    paths = [card_in_control_folder(name)]
    if configured is not None and configured.account_folder is not None:
        paths.insert(0, configured.account_folder / CARD_FILE)
    for path in paths:
        card = _card(path, name)
        if card:
            return Target(name, Path(card["state_folder"]), Path(card["config"]), tuple(card["overrides"]))
    return configured or Target(name, None, None)


def _card(path: Path, name: str) -> dict[str, Any]:
    """What daemon/guardian/card.py has left there; empty where that is nothing of use."""
    try:
        card = json.loads(path.read_bytes())
        is_usable = (
            card["name"] == name
            and all(isinstance(card[key], str) for key in ("state_folder", "config", "phase"))
            and all(isinstance(override, str) for override in card["overrides"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return dict(card) if is_usable else {}


def _listens(path: Path) -> bool:
    """Whether a process has it open, one that hangs too."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_S_MAX)
        try:
            connection.connect(str(path))
        except TimeoutError:
            return True
        except OSError:
            return False
    return True


# The guardian.


def _by_guardian(target: Target, options: argparse.Namespace, until_ns: int) -> dict[str, Any] | None:
    """Its report; None where none answers."""
    path = guardian_socket(target.name)
    body = {"reason": options.reason, "flatten": options.flatten}
    try:
        content = _ask(path, "POST", body, ANSWER_S_MAX)
        while not content["kill"]["verified"] and time.monotonic_ns() < until_ns:
            content = _ask(path, "GET", None, LONG_ANSWER_S_MAX)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {**content, "by": "guardian"}


def _ask(path: Path, method: str, body: dict[str, Any] | None, timeout_s: float) -> dict[str, Any]:
    """One request for /kill. Raises OSError or ValueError."""
    payload = b"" if body is None else json.dumps(body).encode()
    head = f"{method} /kill HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(payload)}\r\n\r\n".encode("ascii")
    received = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        connection.connect(str(path))
        connection.sendall(head + payload)
        while part := connection.recv(1 << 16):
            received += part
            if len(received) > REPLY_BYTES_MAX:
                raise ValueError("the reply is too long")
    head_text, _, content = bytes(received).partition(b"\r\n\r\n")
    if not head_text.startswith(b"HTTP/1.1 200 "):
        raise ValueError(f"the guardian answers {head_text[:40]!r}")
    found: dict[str, Any] = json.loads(content)
    return found


# Without one.


def _by_ourselves(target: Target, options: argparse.Namespace, wait_s: float, started_ns: int) -> dict[str, Any]:
    if target.account_folder is None:
        raise TransportError(f"no guardian answers for {target.name!r}, and its folder is not known; name its configuration")
    _raise_flag(target.account_folder)
    # Only now what takes long to load.
    from daemon.guardian.alone import kill_alone

    return kill_alone(
        target.name,
        target.account_folder,
        target.config,
        target.overrides,
        reason=options.reason,
        flatten=options.flatten,
        wait_s=wait_s,
        started_ns=started_ns,
    )


def _raise_flag(account_folder: Path) -> None:
    try:
        descriptor = os.open(account_folder / LATCH_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        # There is none yet, or it cannot be had: what comes next makes it, or says so.
        return
    try:
        os.pwrite(descriptor, b"1", 0)
    except OSError:
        # Said by what comes next, which does the same.
        return
    finally:
        os.close(descriptor)


# What is shown.


def _text(content: dict[str, Any]) -> str:
    run = content["kill"]
    verdict = "KILLED, verified" if run["verified"] else "KILL NOT VERIFIED"
    stages = ", ".join(f"{name} {_ms(us)}" for name, us in run["stages_us"].items())
    lines = [
        f"{content['account']}  {verdict} (by {content['by']}): {run['reason']}",
        f"  daemon {run['daemon']}; {stages}",
    ]
    for venue in run["venues"]:
        cancels = _ms(venue["cancels_sent_us"]) if venue["cancels_sent_us"] is not None else "never"
        is_empty = venue["empty_us"] is not None
        state = f"empty after {_ms(venue['empty_us'])}" if is_empty else f"open orders {venue['can_add_risk']}"
        flat = "" if not run["flatten"] else ", flat" if venue["flat_us"] is not None else f", positions {venue['positions']}"
        failure = f"; {venue['last_failure']}" if venue["last_failure"] and not venue["verified"] else ""
        lines.append(f"  {venue['venue']}: cancels sent after {cancels}, {state}{flat}{failure}")
    lines += [f"  problem: {problem}" for problem in run["problems"]]
    lines.append("  trade again: remove the cause, then tradingd resume --reason …")
    return "\n".join(lines)


def _ms(us: int) -> str:
    return f"{us / 1_000:.1f} ms"


def _seconds(text: str) -> float:
    """A duration as the configuration writes it; its own module takes long to load."""
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)):
        number = text.removesuffix(unit).strip()
        if text.endswith(unit) and number.replace(".", "", 1).isdecimal():
            return float(number) * factor
    raise ConfigError(f"--wait {text!r}: write for example 30s")
