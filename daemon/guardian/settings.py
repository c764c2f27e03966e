"""What the guardian and the command line need to know of a configuration, in seconds and absolute paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.units import NS_PER_SECOND, parse_duration_ns
from daemon.config.loader import LoadedConfig
from daemon.config.places import account_folder
from daemon.guardian.places import KILL_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class KillSettings:
    fence_after_s: float = 1.0
    settle_s: float = 0.25
    venue_timeout_s: float = 2.0
    guard_interval_s: float = 0.25
    check_interval_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardianSettings:
    name: str
    account_folder: Path  # the daemon's: state/NAME
    state_folder: Path  # the guardian's own
    kill_file: Path
    is_required: bool
    heartbeat_timeout_s: float
    lost_after_s: float
    dead_man_s: float
    head_interval_s: float
    stop_s_max: float
    kill: KillSettings


def guardian_settings(loaded: LoadedConfig) -> GuardianSettings:
    config = loaded.config
    guardian = config.guardian
    account = account_folder(loaded)
    return GuardianSettings(
        name=config.run.name,
        account_folder=account,
        state_folder=Path(guardian.state_folder).absolute() / config.run.name,
        kill_file=Path(guardian.kill_file).absolute() if guardian.kill_file is not None else account / KILL_FILE,
        is_required=guardian.required,
        heartbeat_timeout_s=seconds(guardian.heartbeat_timeout),
        lost_after_s=seconds(guardian.lost_after),
        dead_man_s=seconds(guardian.dead_man),
        head_interval_s=seconds(guardian.head_interval),
        stop_s_max=seconds(config.daemon.stop_timeout),
        kill=KillSettings(
            fence_after_s=seconds(guardian.fence_after),
            settle_s=seconds(guardian.settle),
            venue_timeout_s=seconds(guardian.venue_timeout),
            guard_interval_s=seconds(guardian.guard_interval),
            check_interval_s=seconds(guardian.check_interval),
        ),
    )


def seconds(duration: str) -> float:
    return parse_duration_ns(duration) / NS_PER_SECOND
