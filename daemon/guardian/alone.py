"""A kill without a guardian: the same procedure, in the process of the command line, for as long as it is told to try."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio

from core.errors import InputError, RefusedError, StorageError
from core.venue_switch import VenueSwitch
from daemon.config.loader import LoadedConfig, load_config
from daemon.guardian.daemon_hand import DaemonHand
from daemon.guardian.embedded import EmbeddedSwitch
from daemon.guardian.kill import carry_out
from daemon.guardian.latch_hand import LatchHand
from daemon.guardian.report import KillRun
from daemon.guardian.settings import KillSettings, guardian_settings
from daemon.guardian.switches import open_switches
from daemon.guardian.venue_guard import VenueGuard


def kill_alone(
    name: str,
    account_folder: Path,
    config: Path | None,
    overrides: Sequence[str],
    *,
    reason: str,
    flatten: bool,
    wait_s: float,
    started_ns: int,
) -> dict[str, Any]:
    """The report, verified or not. Raises StorageError where there is not even a latch."""
    hand = DaemonHand(name, account_folder)
    latch = LatchHand(account_folder)
    loaded, problem = _load(config, overrides)
    settings = guardian_settings(loaded).kill if loaded is not None else KillSettings()
    try:
        switches: Sequence[VenueSwitch] = open_switches(loaded, hand) if loaded is not None else (EmbeddedSwitch(hand),)
    except (InputError, StorageError, RefusedError) as error:
        switches, problem = (EmbeddedSwitch(hand),), str(error)
    guards = [VenueGuard(switch, settings, _nobody_hears) for switch in switches]
    venues = tuple(guard.venue for guard in guards)
    run = KillRun("command", reason, os.getuid(), venues, flatten=flatten, started_ns=started_ns)
    if problem:
        # Which venues there are is not known: the daemon is stopped, and nothing more can be said.
        run.problem(f"the venues are not known: {problem}")

    async def carry_out_in_time() -> None:
        with anyio.move_on_after(wait_s):
            await carry_out(run, latch, guards, hand, settings)
        for guard in guards:
            await guard.close()

    anyio.run(carry_out_in_time)
    content = run.as_json()
    content["verified"] = run.is_verified and not problem
    return {"account": name, "kill": content, "by": "this command: no guardian answered"}


def _load(config: Path | None, overrides: Sequence[str]) -> tuple[LoadedConfig | None, str]:
    """The configuration, or why there is none."""
    if config is None:
        return None, "no configuration was named, and the daemon has left none"
    try:
        return load_config(config, overrides), ""
    except InputError as error:
        return None, str(error)


def _nobody_hears(_venue: str, _is_reachable: bool, _text: str) -> None:
    """The report says it."""
