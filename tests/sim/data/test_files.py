"""Blocks of whole lines, whatever the compression and the block size; damage inside a compressed file."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataError
from sim.data import files
from sim.data.files import Block, numbered_lines, read_blocks, split_lines


@given(
    lines=st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), max_size=20),
    block=st.integers(1, 40),
    last=st.booleans(),
)
def test_blocks_are_whole_lines_and_numbered(
    lines: list[bytes], block: int, last: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # A first byte that opens no compressed format.
    data = b"-" + b"\n".join(lines) + b"\n" * last
    path = tmp_path_factory.mktemp("blocks") / "file"
    path.write_bytes(data)
    blocks = list(read_blocks(path, block))
    assert b"".join(part.data for part in blocks) == data
    line = 1
    for part in blocks:
        assert part.first_line == line
        assert part.data.endswith(b"\n") or part is blocks[-1]
        line += part.data.count(b"\n")


def test_only_line_feeds_end_lines() -> None:
    block = Block(b"a\rb\r\n\x0bc\n\nd", 7, 0)
    assert list(numbered_lines(block)) == [(7, "a\rb"), (8, "\x0bc"), (9, ""), (10, "d")]
    assert split_lines(b"a\n") == [b"a"]
    assert split_lines(b"") == []


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_cut_inside_the_compression(pack, tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    packed = pack(b"".join(b"%d\n" % number for number in range(50_000)))
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"file\.gz:\d+: the compressed file is damaged or cut short after this line"):
        list(read_blocks(path))


def test_garbage_inside_the_compression(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    packed = bytearray(gzip.compress(b"".join(b"%d\n" % number for number in range(50_000))))
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)
    with pytest.raises(DataError, match="the compressed file is damaged"):
        list(read_blocks(path))


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent: cannot be read: No such file or directory"):
        list(read_blocks(tmp_path / "absent"))


def test_zstd_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "file.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd rest")
    with pytest.raises(DataError, match="run `zstd -d` on it first"):
        list(read_blocks(path))


def test_endless_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LINE_BYTES_MAX", 1000)
    path = tmp_path / "file"
    path.write_bytes(b"first\n" + b"x" * 5000)
    with pytest.raises(DataError, match="file:2: one line is longer than 1000 bytes"):
        list(read_blocks(path, 256))
