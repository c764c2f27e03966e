"""Recorded frames and their way through a decoder: order, damage, chunks, errors with file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from core.errors import DataError, RefusedError, UnitError, VenueProtocolError
from core.feed import Row
from native.market_data import FLAG_LAST, LEVEL, MD_ROW
from sim.data.frames_to_rows import frames_to_rows
from sim.data.recording import read_frames

T0 = 1_700_000_000_000_000_000


def write(path: Path, *lines: str, end: str = "\n") -> Path:
    path.write_text("\n".join(lines) + end)
    return path


def test_frames(tmp_path: Path) -> None:
    path = tmp_path / "frames.gz"
    path.write_bytes(gzip.compress(b'%d {"a":1}\r\n%d {"b": "x y"}' % (T0, T0)))
    assert [(frame.ts, frame.payload, frame.line) for frame in read_frames(path)] == [
        (T0, b'{"a":1}', 1),
        (T0, b'{"b": "x y"}', 2),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "no local time in ns before the first blank: b''"),
        ('{"a":1}', "no local time in ns before the first blank: b'{\"a\":1}'"),
        ('1700000000000 {"a":1}', "no local time in ns before the first blank: b'1700000000000 {\"a\":1}'"),
        ('-700000000000000000 {"a":1}', "no local time in ns before the first blank: b'-700000000000000000 {\"a\":1}'"),
        ('1.00000000000000e18 {"a":1}', "no local time in ns before the first blank: b'1.00000000000000e18 {\"a\":1}'"),
        (f"{T0}", "no JSON object after the local time: …b'1700000000000000000'"),
        (f"{T0} nonsense", "no JSON object after the local time: …b'1700000000000000000 nonsense'"),
        (f'{T0} {{"a":[1,2', "no JSON object after the local time: …b'1700000000000000000 {\"a\":[1,2'"),
        (f'{T0 - 5} {{"a":1}}', "local time goes backwards by 5 ns"),
    ],
)
def test_damage(line: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "frames", f'{T0} {{"a":1}}', line, f'{T0 + 1} {{"a":1}}')
    with pytest.raises(DataError) as caught:
        list(read_frames(path))
    assert str(caught.value) == f"{path}:2: {message}"


def test_last_line_cut_short(tmp_path: Path) -> None:
    path = write(tmp_path / "frames", f'{T0} {{"a":1}}', f'{T0} {{"a":[1,2', end="")
    with pytest.raises(DataError) as caught:
        list(read_frames(path))
    assert str(caught.value) == f"{path}:2: the last line is cut short: …b'1700000000000000000 {{\"a\":[1,2'"


class Echo:
    """A decoder whose rows follow from the payload: {"n": rows} or {"raise": …}."""

    def receive(self, ts: int, payload: bytes) -> list[Row]:
        if b"protocol" in payload:
            raise VenueProtocolError("not a message")
        if b"unit" in payload:
            raise UnitError("'NaN' is not a decimal number")
        if b"refused" in payload:
            raise RefusedError("no")
        count = int(payload[5:-1])
        return [(ts - 1, ts, 10 + index, 1, 0, 2, LEVEL, 0, FLAG_LAST * (index == count - 1)) for index in range(count)]


def test_chunks_never_cut_a_packet(tmp_path: Path) -> None:
    path = write(tmp_path / "frames", *(f'{T0 + step} {{"n":{step % 4}}}' for step in range(20)))
    calls: list[tuple[int, int]] = []
    chunks = list(frames_to_rows([path], Echo(), lambda rows, size: calls.append((rows, size)), rows_per_chunk=5))
    assert all(chunk.dtype == MD_ROW and chunk["flags"][-1] == FLAG_LAST for chunk in chunks)
    assert [len(chunk) for chunk in chunks] == [6, 6, 6, 6, 6]
    assert np.concatenate(chunks)[:3].tolist() == [
        (T0, T0 + 1, 10, 1, 0, 2, 0, 0, 1),
        (T0 + 1, T0 + 2, 10, 1, 0, 2, 0, 0, 0),
        (T0 + 1, T0 + 2, 11, 1, 0, 2, 0, 0, 1),
    ]
    assert calls[-1] == (30, path.stat().st_size)


@pytest.mark.parametrize(
    ("word", "message"), [("protocol", "not a message"), ("unit", "'NaN' is not a decimal number"), ("refused", "no")]
)
def test_refused_frame_names_file_and_line(word: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "frames", f'{T0} {{"n":1}}', f'{T0} {{"{word}":1}}')
    with pytest.raises(DataError) as caught:
        list(frames_to_rows([path], Echo()))
    assert str(caught.value) == f"{path}:2: {message}"


def test_progress_counts_the_bytes_of_all_files(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, f'{T0 + step} {{"n":3}}') for step, name in enumerate(("first", "second", "third"))]
    calls: list[tuple[int, int]] = []
    list(frames_to_rows(paths, Echo(), lambda rows, size: calls.append((rows, size)), rows_per_chunk=1))
    size = paths[0].stat().st_size
    assert calls == [(3, size), (6, 2 * size), (9, 3 * size), (9, 3 * size)]


def test_files_that_overlap(tmp_path: Path) -> None:
    first = write(tmp_path / "first", f'{T0 + 5} {{"n":1}}')
    second = write(tmp_path / "second", f'{T0 + 4} {{"n":1}}')
    assert len(np.concatenate(list(frames_to_rows([second, first], Echo())))) == 2
    with pytest.raises(DataError) as caught:
        list(frames_to_rows([first, second], Echo()))
    assert str(caught.value) == f"{second}:1: the file begins before the one in front of it ends"
