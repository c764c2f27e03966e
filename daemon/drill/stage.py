"""The stage of one drill: a folder of its own, the user's configuration pointed at simulators, and the processes on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import anyio
import anyio.to_thread

from core.errors import TransportError
from daemon.config.effective import effective
from daemon.config.loader import LoadedConfig, load_config
from daemon.config.show import to_toml
from daemon.control.client import ask
from daemon.drill.simulated import Simulated
from daemon.guardian.places import guardian_socket

COMMAND = (sys.executable, "-m", "daemon.cli.main")
ROOT = Path(__file__).parents[2]
CONFIG_FILE = "drill.toml"
ALERTS_FILE = "alerts.jsonl"
PROBER_ID = "drill_prober"
POLL_S = 0.05
END_S_MAX = 20.0
# Variables of the caller that have no business here: an outside service must not hear of a drill.
DROPPED = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY", "TRADINGD_SECRETS_DIR")


class Stage:
    """`folder` is new and empty; `runtime` is short enough for a socket's path."""

    def __init__(
        self, folder: Path, runtime: Path, loaded: LoadedConfig, simulated: Sequence[Simulated], ports: Mapping[str, int]
    ) -> None:
        self.folder = folder
        self.runtime = runtime
        self.simulated = list(simulated)
        self.config = folder / CONFIG_FILE
        self.secrets: dict[str, str] = {}
        text = to_toml(_drill_config(loaded, self, ports))
        self.config.write_text(text, encoding="utf-8")
        self.loaded = load_config(self.config)
        self.name = self.loaded.config.run.name
        self.environment = {key: value for key, value in os.environ.items() if key not in DROPPED}
        self.environment |= {"TRADINGD_RUNTIME_DIR": str(runtime), "PYTHONPATH": _python_path()}
        self.environment |= {f"TRADINGD_SECRET_{name.upper()}": value for name, value in self.secrets.items()}
        self._children: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []

    # Processes.

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """`tradingd ARGUMENTS`; what it says is kept in a file of its name."""
        log = (self.folder / f"{arguments[0]}-{len(self._children)}.out").open("ab")
        child = subprocess.Popen(
            [*COMMAND, *arguments], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        self._children.append((child, log))
        return child

    def start_daemon(self) -> subprocess.Popen[bytes]:
        return self.start("live", str(self.config), "--account", self.name)

    def start_guardian(self) -> subprocess.Popen[bytes]:
        return self.start("guardian", str(self.config))

    async def run(self, *arguments: str, wait_s: float = 60.0) -> tuple[int, str]:
        """Exit code and output of a command that ends; code -1 where it did not in time."""
        child = self.start(*arguments)
        code = await self.wait(child, wait_s)
        if code is None:
            child.kill()
        return -1 if code is None else code, self.output_of(child)

    def output_of(self, child: subprocess.Popen[bytes]) -> str:
        for place, (each, _) in enumerate(self._children):
            if each is child:
                (found,) = self.folder.glob(f"*-{place}.out")
                return found.read_text(encoding="utf-8", errors="replace")
        raise AssertionError("nobody started it here")

    async def wait(self, child: subprocess.Popen[bytes], wait_s: float) -> int | None:
        """Its exit code; None where it did not end in time."""
        with anyio.move_on_after(wait_s):
            while child.poll() is None:
                await anyio.sleep(POLL_S)
        return child.poll()

    async def end(self, child: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int | None:
        if child.poll() is None:
            child.send_signal(number)
        return await self.wait(child, END_S_MAX)

    def close(self) -> None:
        """Nothing is left behind, whatever state it is in."""
        for child, log in self._children:
            if child.poll() is None:
                with suppress(ProcessLookupError):
                    child.send_signal(signal.SIGCONT)
                    child.kill()
            child.wait(END_S_MAX)
            log.close()

    # What they say.

    async def ask_daemon(self, target: str, method: str = "GET", body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """None where no daemon answers."""
        for path in sorted(self.runtime.glob(f"{self.name}-*.sock"), reverse=True):
            with suppress(TransportError):
                return (await anyio.to_thread.run_sync(ask, path, method, target, body))[1]
        return None

    async def ask_guardian(self) -> dict[str, Any] | None:
        path = self.runtime / guardian_socket(self.name).name
        with suppress(TransportError):
            return (await anyio.to_thread.run_sync(ask, path, "GET", "/status"))[1]
        return None

    def runs(self) -> list[Path]:
        """Run folders, the oldest first."""
        folder = self.folder / "state" / self.name / "runs"
        return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _python_path() -> str:
    """Ours first, then where the user stands: their strategies may be there."""
    given = os.environ.get("PYTHONPATH", "")
    return os.pathsep.join(part for part in (str(ROOT), str(Path.cwd()), given) if part)


def _drill_config(loaded: LoadedConfig, stage: Stage, ports: Mapping[str, int]) -> dict[str, Any]:
    """The user's strategies, risk and instruments; venues, secrets, folders and alarms are the drill's own."""
    plain = effective(loaded)
    plain["run"] |= {"mode": "live"}
    plain["run"].pop("runs_folder", None)
    plain.pop("data", None)
    plain.pop("venue", None)
    plain["api"] = {}
    plain.pop("clients", None)
    plain["audit"] = {}
    plain["connections"] = [_drill_connection(place, each, stage, ports) for place, each in enumerate(stage.simulated)]
    plain["daemon"] |= {
        "state_folder": "state",
        "reconcile_interval": "20s",
        "unknown_timeout": "5s",
        "record_frames": True,
        "venue_wait": "20s",
        "speed": "1x",
    }
    plain["guardian"] |= {"state_folder": "guardian-state", "heartbeat_timeout": "10s", "required": False}
    plain["guardian"].pop("kill_file", None)
    plain["alerts"] = {"log": ALERTS_FILE, "log_from": "info", "repeat_after": "1s"}
    keys = [table["instrument_id"] for table in plain["instruments"]["inline"]]
    heard = {each.connection.venue: each.profile.book_levels for each in stage.simulated}
    levels = {key: heard[key.rpartition(".")[2]] for key in keys if heard.get(key.rpartition(".")[2])}
    plain["strategies"].append(
        {
            "id": PROBER_ID,
            "class": "daemon.drill.prober:Prober",
            "params": {"instrument_ids": keys, "book_levels": levels, "pause_ms": _pause_ms(stage.simulated)},
        }
    )
    return plain


def _pause_ms(simulated: Sequence[Simulated]) -> int:
    """The strategy goes from venue to venue: of several each has its turn less often."""
    slowest = max(each.profile.pause_ms for each in simulated)
    return max(slowest // len(simulated), min(each.profile.pause_ms for each in simulated))


def _settings(given: Mapping[str, Any], of_drill: Mapping[str, Any]) -> dict[str, Any]:
    """The drill's over the user's, and in a table of it the user's other keys."""
    both = {key: {**given[key], **value} for key, value in of_drill.items() if isinstance(value, dict) and key in given}
    return {**given, **of_drill, **both}


def _drill_connection(place: int, simulated: Simulated, stage: Stage, ports: Mapping[str, int]) -> dict[str, Any]:
    connection = simulated.connection
    made: dict[str, Any] = {
        "venue": connection.venue,
        "adapter": connection.adapter,
        "environment": "simulator",
        "address": f"127.0.0.1:{ports[connection.venue]}",
        "account": simulated.account,
        "symbols": dict(connection.symbols),
        "settings": _settings(connection.settings, simulated.profile.settings),
    }
    if connection.order_id_prefix:
        made["order_id_prefix"] = connection.order_id_prefix
    for part, value in simulated.profile.secrets.items():
        made[part] = name = f"drill_{place}_{part}"
        stage.secrets[name] = value
    return made
