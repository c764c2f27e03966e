"""A bug in an answer costs that answer, and not the daemon. A bug in what trades is the daemon's, whoever happened to ask."""

from __future__ import annotations

from collections.abc import Callable

from daemon.control.server import Handler, LineSource, Reply
from daemon.control.wire import Request


class Answering:
    """`is_broken`: the bug is the session's own. `report` is told of the others, and whether something was to be done."""

    def __init__(self, handler: Handler, is_broken: Callable[[], bool], report: Callable[[str, Exception, bool], None]) -> None:
        self._handler, self._is_broken, self._report = handler, is_broken, report

    async def answer(self, request: Request) -> Reply | LineSource:
        try:
            answer = await self._handler(request)
        except Exception as error:
            if self._is_broken():
                raise
            what = f"{request.method} {request.path} failed: {type(error).__name__}: {error}"
            self._report(what, error, request.method != "GET")
            return 500, {"error": f"a bug of tradingd: {what}"}
        return answer if isinstance(answer, tuple) else _Stream(answer, request.path, self)

    async def next_lines(self, source: LineSource, path: str) -> bytes | None:
        """None, the end, where that stream has a bug."""
        try:
            return await source.next_lines()
        except Exception as error:
            if self._is_broken():
                raise
            self._report(f"the stream {path} failed: {type(error).__name__}: {error}", error, False)
            return None


class _Stream:
    def __init__(self, source: LineSource, path: str, answering: Answering) -> None:
        self._source, self._path, self._answering = source, path, answering

    async def next_lines(self) -> bytes | None:
        return await self._answering.next_lines(self._source, self._path)

    def close(self) -> None:
        self._source.close()
