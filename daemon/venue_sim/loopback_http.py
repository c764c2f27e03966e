"""The server's side of one HTTP/1.1 connection: bytes in, whole requests out; replies in, bytes out. No sockets."""

from __future__ import annotations

import h11

from sim.venues.protocol import HttpReply, HttpRequest

HEAD_BYTES_MAX = 1 << 16
BODY_BYTES_MAX = 1 << 22


class BadRequestError(Exception):
    """What came is no HTTP request, or one that is too large; `answer` are the bytes to end the connection with."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        super().__init__("not HTTP")


class HttpSide:
    def __init__(self) -> None:
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._head: h11.Request | None = None
        self._body = bytearray()

    def receive(self, data: bytes) -> None:
        self._connection.receive_data(data)

    def next_request(self) -> HttpRequest | None:
        """The next whole request, None while there is none. To be called again only behind its answer. Raises BadRequestError."""
        while True:
            try:
                event = self._connection.next_event()
            except h11.RemoteProtocolError as error:
                raise BadRequestError(self._refusal(error.error_status_hint)) from error
            match event:
                case h11.Request():
                    self._head, self._body = event, bytearray()
                    if self._connection.they_are_waiting_for_100_continue:
                        continue  # the body comes without being asked for, or the client waits in vain
                case h11.Data():
                    self._body += event.data
                    if len(self._body) > BODY_BYTES_MAX:
                        raise BadRequestError(self._refusal(413))
                case h11.EndOfMessage():
                    assert self._head is not None
                    return _request_of(self._head, bytes(self._body))
                case _:
                    return None

    def answer(self, reply: HttpReply) -> bytes:
        """The bytes of a reply; of a stream its head and first chunk."""
        headers = list(reply.headers)
        if reply.is_stream:
            headers.append(("Transfer-Encoding", "chunked"))
        elif reply.status not in (204, 304):
            headers.append(("Content-Length", str(len(reply.body))))
        if reply.closes:
            headers.append(("Connection", "close"))
        out = self._send(h11.Response(status_code=reply.status, headers=headers))
        if reply.body:
            out += self._send(h11.Data(data=reply.body))
        return out if reply.is_stream else out + self._send(h11.EndOfMessage())

    def chunk(self, payload: bytes) -> bytes:
        return self._send(h11.Data(data=payload))

    def end(self) -> bytes:
        return self._send(h11.EndOfMessage())

    def may_go_on(self) -> bool:
        """Behind an answer: whether the connection is good for another request."""
        if self._connection.our_state is h11.DONE and self._connection.their_state is h11.DONE:
            self._connection.start_next_cycle()
            return True
        return False

    def rest(self) -> bytes:
        """What came behind a request that took the connection over."""
        return bytes(self._connection.trailing_data[0])

    def _send(self, event: h11.Event) -> bytes:
        return self._connection.send(event) or b""

    def _refusal(self, status: int) -> bytes:
        if self._connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return b""
        return self.answer(HttpReply(status=status, closes=True))


def _request_of(head: h11.Request, body: bytes) -> HttpRequest:
    path, _, query = head.target.decode("latin-1").partition("?")
    headers: dict[str, str] = {}
    for name, value in head.headers:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return HttpRequest(method=head.method.decode("latin-1"), path=path, query=query, headers=headers, body=body)


def asks_for_websocket(request: HttpRequest) -> bool:
    return request.method == "GET" and request.headers.get("upgrade", "").lower() == "websocket"
