"""Opens a recorded file, compressed or not, and cuts it into blocks of whole lines: huge files stream in bounded memory."""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from core.errors import DataError

ROWS_PER_CHUNK = 65_536
BLOCK_BYTES = 1 << 21
# One line longer than this is not a record of any format read here: a damaged file must not eat all memory.
LINE_BYTES_MAX = 1 << 24

# Told (rows read so far, bytes of the file consumed so far); the file's size on disk is the total.
Progress = Callable[[int, int], None]

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_MAGIC = b"\x1f\x8b"
_XZ_MAGIC = b"\xfd7zXZ\x00"


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines: `data` ends with a line feed unless it is the file's last line and lacks one."""

    data: bytes
    first_line: int  # 1-based number of the first line in `data`
    bytes_read: int  # of the file on disk, so far: compressed bytes where it is compressed


def read_blocks(path: Path, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """The file's lines in blocks of about `block_bytes`; .gz and .xz are opened by what they are, not by their name.

    Raises DataError when the file is absent, cut short inside its compression, or holds a line beyond LINE_BYTES_MAX.
    """
    line = 1
    rest = b""
    try:
        with path.open("rb") as raw, _decompressed(raw, path) as stream:
            while data := stream.read(block_bytes):
                end = data.rfind(b"\n") + 1
                if end == 0:
                    rest += data
                    if len(rest) > LINE_BYTES_MAX:
                        raise DataError(f"one line is longer than {LINE_BYTES_MAX} bytes", file=str(path), line=line)
                    continue
                whole, rest = rest + data[:end], data[end:]
                yield Block(whole, line, raw.tell())
                line += whole.count(b"\n")
            if rest:
                yield Block(rest, line, raw.tell())
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        message = f"the compressed file is damaged or cut short after this line: {error}"
        raise DataError(message, file=str(path), line=line) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=str(path)) from error


def _decompressed(raw: IO[bytes], path: Path) -> IO[bytes]:
    magic = raw.read(6)
    raw.seek(0)
    if magic.startswith(_GZIP_MAGIC):
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw, mode="rb"))
    if magic.startswith(_XZ_MAGIC):
        return lzma.LZMAFile(raw, mode="rb")
    if magic.startswith(_ZSTD_MAGIC):
        raise DataError("zstd streams line by line only once decompressed: run `zstd -d` on it first", file=str(path))
    return raw


def split_lines(data: bytes) -> list[bytes]:
    """Lines as line feeds end them, without their ends; bytes.splitlines would also break at a lone carriage return."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix(b"\r") for line in lines]


def numbered_lines(block: Block) -> Iterator[tuple[int, str]]:
    """(line number, text without its line end); the slow path that finds the one bad line of a block."""
    for offset, line in enumerate(split_lines(block.data)):
        yield block.first_line + offset, line.decode("utf-8", "backslashreplace")
