"""`tradingd guardian`: the second process, until SIGTERM."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import anyio

from daemon.config.loader import LoadedConfig, load_config
from daemon.control.socket_path import prepare_folder
from daemon.guardian.alerts import Alerter, Sink
from daemon.guardian.guardian import Guardian, OpenSwitches
from daemon.guardian.latch_hand import LatchHand
from daemon.guardian.precedence import take_precedence
from daemon.guardian.settings import GuardianSettings, guardian_settings, seconds
from daemon.guardian.sinks import CommandSink, ConsoleSink, FileSink, WebhookSink
from daemon.guardian.switches import open_switches
from daemon.journal.lock import WriterLock
from daemon.notify import systemd_pulse
from daemon.secrets import read_secret
from daemon.trading.listener import Severity

LOCK_FILE = "lock"


def guardian(options: argparse.Namespace) -> int:
    loaded = load_config(Path(options.config), options.overrides)
    return guard(loaded, lambda hand: open_switches(loaded, hand))


def guard(loaded: LoadedConfig, switches: OpenSwitches) -> int:
    """Runs the guardian of a configuration over `switches`. Raises ConfigError and StorageError where it cannot begin."""
    settings, pulse = guardian_settings(loaded), systemd_pulse()
    take_precedence()
    prepare_folder()
    lock = _only_one(settings)
    try:
        latch = LatchHand(settings.account_folder)
        alerter = make_alerter(loaded)
        # The faster loop where it is installed; nothing else depends on it.
        use_uvloop = importlib.util.find_spec("uvloop") is not None

        async def run() -> int:
            return await Guardian(settings, switches, alerter, latch, pulse).run()

        return anyio.run(run, backend_options={"use_uvloop": use_uvloop})
    finally:
        lock.release()


def _only_one(settings: GuardianSettings) -> WriterLock:
    """Two guardians would take each other's sockets. Raises StorageError while another one has this account."""
    settings.state_folder.mkdir(parents=True, exist_ok=True)
    return WriterLock(settings.state_folder / LOCK_FILE)


def make_alerter(loaded: LoadedConfig) -> Alerter:
    """Raises ConfigError where the webhook's secret cannot be read."""
    alerts = loaded.config.alerts
    sinks: list[Sink] = [ConsoleSink()]
    secrets: Sequence[str] = ()
    if alerts.log is not None:
        sinks.append(FileSink(Path(alerts.log).absolute(), Severity(alerts.log_from)))
    if alerts.webhook is not None:
        url = read_secret(alerts.webhook)
        secrets = (url,)
        sinks.append(WebhookSink(url, Severity(alerts.webhook_from), seconds(alerts.webhook_timeout)))
    if alerts.command:
        sinks.append(CommandSink(alerts.command, Severity(alerts.command_from), seconds(alerts.command_timeout)))
    return Alerter(
        loaded.config.run.name,
        sinks,
        repeat_after_s=seconds(alerts.repeat_after),
        per_minute_max=alerts.per_minute_max,
        secrets=secrets,
    )
