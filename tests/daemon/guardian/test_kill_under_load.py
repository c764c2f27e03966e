"""Kills at random instants of a daemon that sends without pause: after each acknowledgement the venue accepts nothing more."""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path

import pytest

from daemon.exit_codes import ExitCode
from tests.daemon.guardian.processes import SECONDS_MAX, Place, end, until

CHURNER = "tests.daemon.trading.churner:Churner"
SILENCE_S = 1.0  # after an acknowledgement: longer than anything at this venue is on its way


def churning(folder: Path) -> Place:
    here = Place(folder, more='[alerts]\nlog = "alerts.jsonl"\n[guardian]\nfence_after = "300ms"')
    text = here.config.read_text().replace("tests.daemon.guardian.resting:Resting", CHURNER)
    text = "\n".join(
        line for line in text.split("\n") if not line.startswith(("hang_file", "position = 0", "[strategies.params]"))
    )
    here.config.write_text(text.replace("[risk]\n", "[risk]\norders_max = 100000\n"))
    return here


def kill_again_and_again(folder: Path, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    here = churning(folder)
    try:
        here.start_venue()
        here.start_guardian()
        daemon = here.start("paper", str(here.config))
        for number in range(kills):
            repeat = f"kill {number} of seed {seed}"
            mark = len(here.lines())
            until(lambda mark=mark: len(here.accepted_since(mark)) > 3, f"{repeat}: it trades")
            threading.Event().wait(draw.uniform(0, 0.3))
            is_stopped = draw.random() < 0.6
            if is_stopped:
                daemon.send_signal(signal.SIGSTOP)
            by_file = draw.random() < 0.3
            if by_file:
                # Without a word to anybody; what is then asked for joins it.
                (here.folder / "state" / "session" / "KILL").touch()
            code, content = here.kill("--reason", repeat)
            mark = len(here.lines())
            assert (code, content["kill"]["verified"], content["by"]) == (ExitCode.OK, True, "guardian"), (repeat, content)
            assert here.open_orders(here.lines()[:mark]) == {}, repeat
            daemon.send_signal(signal.SIGCONT)
            threading.Event().wait(SILENCE_S)
            assert here.accepted_since(mark) == [], repeat
            (here.folder / "state" / "session" / "KILL").unlink(missing_ok=True)
            if content["kill"]["daemon"] != "halted":
                # "gone": the kill by the file, a moment before, has ended it.
                assert daemon.wait(SECONDS_MAX) == -signal.SIGKILL
                daemon = here.start("paper", str(here.config))
            until(lambda: here.tradingd("resume", "--reason", "again").returncode == 0, f"{repeat}: resumed")
        end(daemon)
    finally:
        here.close()


@pytest.mark.timeout(300)
def test_nothing_is_accepted_after_an_acknowledged_kill(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, 4, 1)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_nothing_is_accepted_after_any_of_many_kills(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, 60, int(os.environ.get("TRADINGD_TEST_SEED", "7")))
