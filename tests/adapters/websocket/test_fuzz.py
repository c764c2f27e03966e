"""Damaged conversations through the dialogue: whole messages or an end with a code, and no other error."""

from __future__ import annotations

import random

import pytest

from adapters.websocket.dialogue import Dialogue
from adapters.websocket.errors import LinkEnded
from core.errors import TransportError
from tests.adapters.websocket.server import BINARY, CONT, PING, TEXT, closing, frame, handshake_answer

FRAMES = (
    frame(TEXT, b'{"e":"trade"}'),
    frame(TEXT, "grüße".encode(), fin=False) + frame(PING, b"?") + frame(CONT, " €".encode()),
    frame(BINARY, bytes(range(200))),
    frame(TEXT, b"x" * 300),
    closing(1001, "bye"),
)
SMALL_MAX = 1_000


def converse(dice: random.Random) -> None:
    dialogue = Dialogue("ws://127.0.0.1:1/ws", headers=(), subprotocol=None, message_bytes_max=SMALL_MAX)
    data = bytearray(handshake_answer(dialogue.take_out()))
    begins = len(data)
    for _ in range(dice.randrange(1, 6)):
        data += dice.choice(FRAMES)
    # Most damage behind the handshake: what is refused at once tells little.
    first = begins if dice.random() < 0.9 else 0
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(first, len(data))
        match dice.randrange(4):
            case 0:
                data[at] = dice.randrange(256)
            case 1:
                del data[at : at + dice.randrange(1, 5)]
            case 2:
                data[at:at] = dice.randbytes(dice.randrange(1, 5))
            case _:
                data += data[at : at + 50]
        first = min(first, len(data) - 1)
    at = 0
    while at < len(data) and (dialogue.is_connecting or dialogue.is_open):
        size = dice.choice((1, 3, 50, len(data)))
        for message in dialogue.receive(bytes(data[at : at + size])):
            assert isinstance(message, str | bytes)
            assert len(message) <= SMALL_MAX
        dialogue.take_out()
        at += size
    dialogue.receive_end()
    assert not dialogue.is_open
    if dialogue.has_opened:
        end = dialogue.ended()
        assert isinstance(end, LinkEnded)
        assert 1000 <= end.code < 5000
    else:
        assert isinstance(dialogue.refusal(), TransportError)


def attack(count: int, seed: int) -> None:
    for turn in range(count):
        try:
            converse(random.Random(f"{seed}/{turn}"))
        except Exception as error:
            raise AssertionError(f'repeat with converse(random.Random("{seed}/{turn}"))') from error


def test_damaged_conversations() -> None:
    attack(4_000, seed=1)


@pytest.mark.slow
def test_many_damaged_conversations() -> None:
    attack(400_000, seed=2)  # more than a million frames
