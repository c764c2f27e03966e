"""Where an HTTP/1.1 answer ends in the bytes that came, so that what lies behind it is seen. Pure.

An HTTP client keeps bytes behind an answer for the next request on that connection, and takes them for its answer. A venue, or a
proxy before it, that sends one answer too many would so move every later answer to the request before it.
"""

from __future__ import annotations

_HEAD_END = b"\r\n\r\n"
_BODILESS = (204, 304)


def answer_length(raw: bytes) -> int | None:
    """Bytes of the first whole final answer in `raw`; None where it is not whole, or ends only with its connection."""
    start = 0
    while True:
        end = raw.find(_HEAD_END, start)
        if end < 0:
            return None
        head = raw[start:end]
        end += len(_HEAD_END)
        status = _status(head)
        if status is None:
            return None
        if not 100 <= status < 200:
            return _body_end(raw, end, head, status)
        start = end  # an interim answer: the final one follows


def _status(head: bytes) -> int | None:
    parts = head.split(b"\r\n", 1)[0].split(b" ", 2)
    return int(parts[1]) if len(parts) >= 2 and parts[1].isdigit() and len(parts[1]) == 3 else None


def _body_end(raw: bytes, start: int, head: bytes, status: int) -> int | None:
    if status in _BODILESS:
        return start
    headers = {}
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        return _chunks_end(raw, start)
    length = headers.get(b"content-length", b"")
    if not length.isdigit() or len(length) > 18:
        return None
    return start + int(length) if start + int(length) <= len(raw) else None


def _chunks_end(raw: bytes, at: int) -> int | None:
    while True:
        line_end = raw.find(b"\r\n", at)
        size_text = raw[at:line_end].partition(b";")[0].strip() if line_end >= 0 else b""
        if not size_text or len(size_text) > 16:
            return None
        try:
            size = int(size_text, 16)
        except ValueError:
            return None
        at = line_end + 2
        if size:
            at += size + 2
            continue
        # Trailers, each a line, and then an empty one.
        while (line_end := raw.find(b"\r\n", at)) > at:
            at = line_end + 2
        return line_end + 2 if line_end == at else None
