"""The daemon's end and the guardian's, over real sockets: what arrives, what waits, and what no datagram can do."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.config.loader import load_config
from daemon.guardian.beat_inbox import BeatInbox, Received
from daemon.guardian.card import read_card
from daemon.guardian.link import WAITING_MAX, GuardianLink
from daemon.guardian.messages import DATAGRAM_BYTES_MAX, Alerted, Beaten, Phased, Sealed, decode, decode_here, encode
from daemon.guardian.places import CARD_FILE, beat_socket, card_in_control_folder, link_socket
from daemon.guardian.process import boot_id, start_ticks
from daemon.guardian.settings import guardian_settings
from daemon.journal.anchor import Anchor
from daemon.kill_latch import KillLatch
from daemon.trading.listener import Alert, Severity
from tests.daemon.guardian.test_watch import beat
from tests.daemon.session import CONFIG, sockets_of, write_config

ALERT = Alert(kind="test", severity=Severity.CRITICAL, text="x", ts=1)
ANCHOR = Anchor(journal_id="a", run_id="session-1", public_key="", segment=1, frame=2, records=3, before="00", seal="00")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    sockets = sockets_of(tmp_path)
    monkeypatch.setenv("TRADINGD_RUNTIME_DIR", str(sockets))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state" / "session").mkdir(parents=True)
    KillLatch(tmp_path / "state" / "session" / "kill_latch").close()
    yield tmp_path
    for path in sockets.glob("*"):
        path.unlink()
    sockets.rmdir()


def open_link(folder: Path, more: str = "") -> GuardianLink:
    config = write_config(folder, f"{CONFIG}\n[guardian]\n{more}\n")
    link = GuardianLink(guardian_settings(load_config(config)), config, ["run.seed=4"])
    link.run_id_of = lambda: "session-1"
    return link


def drain(inbox: BeatInbox, *, is_able: bool = True) -> list[Received]:
    taken: list[Received] = []

    def take(received: Received) -> None:
        taken.append(received)
        inbox.answer(received, is_able)

    inbox.drain(take)
    return taken


def test_everything_arrives_in_order_and_from_whom(folder: Path) -> None:
    inbox, link = BeatInbox("session"), open_link(folder)
    link.phase("starting", "begins")
    link.beat(beat(1))
    link.seal(ANCHOR)
    link.alert(ALERT)
    link.phase("ended", "")
    found = os.stat(folder / "state" / "session" / "kill_latch")
    latch = (found.st_dev, found.st_ino)
    taken = drain(inbox)
    assert [received.message for received in taken] == [
        Phased(phase="starting", text="begins", run_id="session-1", latch=latch, stop_s_max=5.0),
        Beaten(beat=beat(1), latch=latch),
        Sealed(anchor=ANCHOR),
        Alerted(alert=ALERT),
        Phased(phase="ended", text="", run_id="session-1", latch=latch, stop_s_max=5.0),
    ]
    assert {received.pid for received in taken} == {os.getpid()}
    link.close()
    inbox.close()
    assert list(sockets_of(folder).glob("*.link")) == []


def test_what_must_not_be_lost_waits_for_a_guardian_and_beats_do_not(folder: Path) -> None:
    link = open_link(folder)
    link.phase("running", "")
    link.beat(beat(1))
    link.seal(ANCHOR)
    inbox = BeatInbox("session")
    assert drain(inbox) == []
    link.beat(beat(2))
    assert [type(received.message) for received in drain(inbox)] == [Phased, Sealed, Beaten]
    link.close()
    inbox.close()


def test_without_a_guardian_nothing_raises_waits_or_grows(folder: Path) -> None:
    link = open_link(folder)
    link.phase("running", "")
    for number in range(1, WAITING_MAX + 50):
        link.alert(ALERT)
        link.beat(beat(number))
    inbox = BeatInbox("session")
    link.beat(beat(1_000))
    taken = drain(inbox)
    assert len(taken) <= WAITING_MAX + 1
    link.close()
    inbox.close()


def test_a_guardian_that_answers_is_near_and_one_that_watches_another_latch_is_not(folder: Path) -> None:
    inbox, link = BeatInbox("session"), open_link(folder, "required = true\nlost_after = '10s'")
    link.phase("starting", "")
    assert "no guardian has answered for 10 s" in link.refusal()
    drain(inbox, is_able=False)
    assert link.refusal() != ""
    link.beat(beat(1))
    drain(inbox)
    assert link.refusal() == ""
    link.close()
    inbox.close()


def test_where_none_is_required_none_is_missed(folder: Path) -> None:
    link = open_link(folder)
    link.phase("starting", "")
    assert link.refusal() == ""
    link.close()


def test_the_start_waits_for_the_answer_of_a_required_guardian(folder: Path) -> None:
    inbox, link = BeatInbox("session"), open_link(folder, "required = true\nlost_after = '30s'")

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(inbox.run, lambda received: inbox.answer(received, True))
            await link.wait_for_guardian()
            tasks.cancel_scope.cancel()

    anyio.run(main)
    assert link.refusal() == ""
    link.close()
    inbox.close()


def test_the_card_says_who_and_where(folder: Path) -> None:
    link = open_link(folder)
    link.phase("running", "")
    card = read_card(folder / "state" / "session" / CARD_FILE)
    assert card is not None
    assert card == read_card(card_in_control_folder("session"))
    assert (card.pid, card.started, card.boot) == (os.getpid(), start_ticks(os.getpid()), boot_id())
    assert (card.phase, card.run_id, card.overrides) == ("running", "session-1", ["run.seed=4"])
    assert (card.state_folder, card.config) == (str(folder / "state" / "session"), str(folder / "session.toml"))
    process = card.process()
    assert process is not None
    assert not process.has_ended
    process.close()
    link.close()


@pytest.mark.parametrize("changed", [{"started": 1}, {"boot": "another"}, {"pid": 1 << 22}])
def test_a_card_of_a_process_that_is_gone_means_nobody(folder: Path, changed: dict[str, Any]) -> None:
    import msgspec

    link = open_link(folder)
    link.phase("running", "")
    card = read_card(folder / "state" / "session" / CARD_FILE)
    assert card is not None
    assert msgspec.structs.replace(card, **changed).process() is None
    link.close()


def test_links_of_daemons_that_were_killed_are_cleared_away(folder: Path) -> None:
    left = link_socket("session", 1 << 22)
    left.parent.mkdir(mode=0o700, exist_ok=True)
    left.touch()
    link = open_link(folder)
    link.phase("running", "")
    assert not left.exists()
    link.close()


@given(st.binary(max_size=300))
def test_bytes_that_are_no_message_are_none(data: bytes) -> None:
    message = decode(data)
    assert message is None or decode(encode(message)) == message
    decode_here(data)


def test_no_datagram_stops_the_ear(folder: Path) -> None:
    inbox = BeatInbox("session")
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    whole = encode(Beaten(beat=beat(1), latch=(1, 2)))
    for data in (b"", b"\x00", b"\xc1" * 50, whole[:-1], whole + b"x", b"\x91" * 10_000, bytes(DATAGRAM_BYTES_MAX + 10)):
        sender.sendto(data, str(beat_socket("session")))
    sender.sendto(whole, str(beat_socket("session")))
    taken = drain(inbox)
    assert [received.message is None for received in taken] == [True] * 7 + [False]
    sender.close()
    inbox.close()
