"""Kills `data fetch` at each of its writes, lets it run again, and holds what is there against a fetch that nobody killed.

    python -m tests.daemon.fetch_killed FOLDER [EVERY]

A write is whatever changes the disk: an open, a rename, a removal, some bytes of a download, half of a Parquet file. Each fetch
is a process of its own, forked from this one, which has everything imported; killed, none of its cleaning up runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import sys
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import polars as pl

import adapters.history.binance_archive as archive
import adapters.history.io as history_io
from daemon.cli.main import main
from sim.data import store

DAYS = (1_704_067_200_000, 1_704_153_600_000)  # 2024-01-01 and 02
ROWS = 7
KILLED = 99
WAYS_OUT = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}
ARGUMENTS = ["data", "fetch", "binance", "X", "--kind", "trades", "--start", "2024-01-01", "--end", "2024-01-03", "--json"]


def day(index: int) -> bytes:
    lines = [f"{number},1.{number},2,{number},{number},{DAYS[index] + number},true,true" for number in range(1, ROWS + 1)]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(zipfile.ZipInfo("x.csv"), "\n".join(lines))  # without the time of its making
    return out.getvalue()


class Pieces(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), 100):
            yield self._body[start : start + 100]


def answer(request: httpx.Request) -> httpx.Response:
    body = day(0 if "2024-01-01" in request.url.path else 1)
    if request.url.path.endswith("CHECKSUM"):
        return httpx.Response(200, text=f"{hashlib.sha256(body).hexdigest()}  x.zip")
    since = request.headers.get("range", "").removeprefix("bytes=").removesuffix("-")
    if not since:
        return httpx.Response(200, stream=Pieces(body))
    if int(since) >= len(body):
        return httpx.Response(416)
    headers = {"content-range": f"bytes {since}-{len(body) - 1}/{len(body)}"}
    return httpx.Response(206, headers=headers, stream=Pieces(body[int(since) :]))


class Client(history_io.HistoryClient):
    def __init__(self, **options: Any) -> None:
        arrived = options["arrived"]
        options["arrived"] = lambda size: (Writes.count(), arrived(size))
        super().__init__(**options, transport=httpx.MockTransport(answer))


class Writes:
    """Counts them, and kills at one."""

    number = 0
    fatal = 0

    @classmethod
    def count(cls, before_death: Callable[[], object] = lambda: None) -> None:
        cls.number += 1
        if cls.number == cls.fatal:
            before_death()
            os._exit(KILLED)


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in WAYS_OUT or "data" not in str(arguments[0]):
        return
    if event != "open" or (isinstance(arguments[1], str) and arguments[1][0] in "wax+"):
        Writes.count()


def halving(write: Callable[..., Any]) -> Callable[..., Any]:
    def written(frame: Any, path: str | Path, **options: Any) -> Any:
        def half() -> None:
            write(frame, path, **options)
            os.truncate(path, os.stat(path).st_size // 2)

        Writes.count(half)
        return write(frame, path, **options)

    return written


def run(folder: Path, fatal: int) -> int:
    """One fetch in a process of its own; its exit code, or KILLED. Where none is fatal: how many writes there were, below 256."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.chdir(folder)
    store.ROWS_IN_MEMORY_MAX = 3
    archive.BLOCK_BYTES = 64
    history_io.HistoryClient = Client  # type: ignore[misc]  # the command makes its own
    # Polars opens its files unseen; write_parquet is a sink, too.
    pl.LazyFrame.sink_parquet = halving(pl.LazyFrame.sink_parquet)  # type: ignore[method-assign]
    Writes.fatal = fatal
    sys.addaudithook(watch)
    with contextlib.redirect_stdout(io.StringIO()):
        code = main(ARGUMENTS)
    os._exit(code if code or fatal else min(Writes.number, 255))


def shown(folder: Path, is_done: bool) -> dict[str, str]:
    """In a process of its own, to keep polars' threads out of this one: the rows of every file that has a name, as text."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        found = {}
        for path in sorted(folder.glob("data/*/*/**/*.parquet")):
            if "scratch" not in path.parts:
                found[str(path.relative_to(folder))] = pl.read_parquet(path).write_csv()
        left = sorted(path.name for path in folder.glob("data/*/*/trades/scratch/*"))
        with os.fdopen(writing, "w") as out:
            out.write(repr(found | ({"left": str(left)} if is_done else {})))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as into:
        text = into.read()
    os.wait()
    return dict(eval(text)) if text else {"damaged": str(folder)}


def check(home: Path, every: int) -> int:
    calm = home / "calm"
    calm.mkdir()
    writes = run(calm, 0)
    expected = shown(calm, is_done=True)
    assert expected["left"] == "[]", expected
    assert 20 < writes < 250, writes
    for fatal in range(1, writes + 1, every):
        folder = home / "killed"
        folder.mkdir()
        assert run(folder, fatal) == KILLED, f"write {fatal}"
        between = shown(folder, is_done=False)
        assert between.items() <= expected.items(), f"killed at write {fatal}: {between}"
        assert run(folder, 10**9) == 0, f"after write {fatal}"
        after = shown(folder, is_done=True)
        assert after == expected, f"killed at write {fatal}: {after}"
        shutil.rmtree(folder)
    return writes


if __name__ == "__main__":
    print(check(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
