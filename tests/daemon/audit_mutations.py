"""Ways to tamper with a journal, drawn at random from a seed: segments in, other segments out."""

from __future__ import annotations

import random
from collections.abc import Callable

from daemon.journal.format import (
    GENESIS,
    HEAD,
    MARK,
    PREAMBLE,
    Frame,
    Kind,
    frame_hash,
)
from tests.daemon.journal_records import frames_in

Segments = dict[int, bytes]
Mutation = Callable[[Segments, random.Random], Segments]


def place(segments: Segments, chance: random.Random) -> int:
    """A segment, the longer the likelier."""
    numbers = sorted(segments)
    return chance.choices(numbers, [len(segments[number]) for number in numbers])[0]


def edited(data: bytes, chance: random.Random, offset: int, size: int) -> bytes:
    new = bytes(byte ^ chance.randrange(256) for byte in data[offset : offset + size])
    return data[:offset] + new + data[offset + size :]


def edit_a_byte(segments: Segments, chance: random.Random) -> Segments:
    number = place(segments, chance)
    data = segments[number]
    offset = chance.randrange(len(data))
    flipped = bytes([data[offset] ^ chance.randrange(1, 256)])
    return {**segments, number: data[:offset] + flipped + data[offset + 1 :]}


def edit_a_run(segments: Segments, chance: random.Random) -> Segments:
    number = place(segments, chance)
    data = segments[number]
    return {**segments, number: edited(data, chance, chance.randrange(len(data)), chance.randrange(1, 200))}


def drop_bytes(segments: Segments, chance: random.Random) -> Segments:
    number = place(segments, chance)
    data = segments[number]
    offset = chance.randrange(len(data))
    return {**segments, number: data[:offset] + data[offset + chance.randrange(1, 100) :]}


def add_bytes(segments: Segments, chance: random.Random) -> Segments:
    number = place(segments, chance)
    data = segments[number]
    offset = chance.randrange(len(data) + 1)
    return {**segments, number: data[:offset] + chance.randbytes(chance.randrange(1, 100)) + data[offset:]}


def copy_bytes(segments: Segments, chance: random.Random) -> Segments:
    number = place(segments, chance)
    data = segments[number]
    start, target = chance.randrange(len(data)), chance.randrange(len(data) + 1)
    return {**segments, number: data[:target] + data[start : start + chance.randrange(1, 300)] + data[target:]}


def cut_the_tail(segments: Segments, chance: random.Random) -> Segments:
    number = place(segments, chance)
    kept = {other: data for other, data in segments.items() if other <= number or chance.random() < 0.5}
    return {**kept, number: segments[number][: chance.randrange(len(segments[number]))]}


def cut_at_a_frame(segments: Segments, chance: random.Random) -> Segments:
    number = place(segments, chance)
    frame = chance.choice(frames_in(segments[number]))
    return {**{other: data for other, data in segments.items() if other < number}, number: segments[number][: frame.offset]}


def joined(frames: list[Frame]) -> bytes:
    return PREAMBLE.pack(b"TRADINGD", 2) + b"".join(frame.whole for frame in frames)


def remove_frames(segments: Segments, chance: random.Random) -> Segments:
    number = place(segments, chance)
    frames = frames_in(segments[number])
    first = chance.randrange(len(frames))
    return {**segments, number: joined(frames[:first] + frames[first + chance.randrange(1, 4) :])}


def repeat_a_frame(segments: Segments, chance: random.Random) -> Segments:
    source, number = place(segments, chance), place(segments, chance)
    frames = frames_in(segments[number])
    frames.insert(chance.randrange(len(frames) + 1), chance.choice(frames_in(segments[source])))
    return {**segments, number: joined(frames)}


def reorder_frames(segments: Segments, chance: random.Random) -> Segments:
    number = place(segments, chance)
    frames = frames_in(segments[number])
    if chance.random() < 0.5:
        first, second = chance.randrange(len(frames)), chance.randrange(len(frames))
        frames[first], frames[second] = frames[second], frames[first]
    else:
        moved = frames.pop(chance.randrange(len(frames)))
        frames.insert(chance.randrange(len(frames) + 1), moved)
    return {**segments, number: joined(frames)}


def forge_a_frame(segments: Segments, chance: random.Random) -> Segments:
    """A frame whose hash is right, put in or put in place of another."""
    number = place(segments, chance)
    frames = frames_in(segments[number])
    index = chance.randrange(1, len(frames))
    before, here = frames[index - 1], frames[index]
    head = HEAD.pack(MARK, len(here.payload), Kind.RECORDS, here.number, here.records, here.synced)
    payload = edited(here.payload, chance, chance.randrange(len(here.payload)), 3)
    forged = here._replace(head=head, payload=payload, hash=frame_hash(before.hash, head, payload))
    frames[index : index + chance.randrange(2)] = [forged]
    return {**segments, number: joined(frames)}


def rewrite_without_the_key(segments: Segments, chance: random.Random) -> Segments:
    """One payload or number edited, and every hash after it made to fit: only the seals cannot be."""
    result: Segments = {}
    index_edited = chance.randrange(sum(len(frames_in(data)) for data in segments.values()))
    before, index = GENESIS, 0
    for number in sorted(segments):
        frames = []
        for frame in frames_in(segments[number]):
            head, payload = frame.head, frame.payload
            if index == index_edited:
                payload = edited(payload, chance, chance.randrange(len(payload)), 4)
            digest = frame_hash(before, head, payload)
            frames.append(frame._replace(payload=payload, hash=digest))
            before = digest
            index += 1
        result[number] = joined(frames)
    return result


def disorder_segments(segments: Segments, chance: random.Random) -> Segments:
    numbers = sorted(segments)
    first, second = chance.choice(numbers), chance.choice(numbers)
    fate = chance.randrange(3)
    if fate == 0:
        return {number: data for number, data in segments.items() if number != first}
    if fate == 1:
        return {**segments, first: segments[second], second: segments[first]}
    return {**segments, numbers[-1] + 1: segments[first]}


MUTATIONS: list[Mutation] = [
    edit_a_byte,
    edit_a_run,
    drop_bytes,
    add_bytes,
    copy_bytes,
    cut_the_tail,
    cut_at_a_frame,
    remove_frames,
    repeat_a_frame,
    reorder_frames,
    forge_a_frame,
    rewrite_without_the_key,
    disorder_segments,
]
