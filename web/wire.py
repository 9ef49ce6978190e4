"""
How requests come from a connection and answers go to it: gunicorn's way, with less work.

Each class does what gunicorn's of that name does, but for what its first line says. Most of what a
small answer costs is processor time for what is the same in each, and for passing bytes about.
"""

import json
import socket
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from gunicorn import http, util
from gunicorn.http import body, message, parser, wsgi
from gunicorn.http.unreader import SocketUnreader


def install() -> None:
    """Put all this in the place of gunicorn's own."""
    SocketUnreader.max_body_chunk = _CHUNK
    SocketUnreader.chunk = _chunk
    http.RequestParser = Parser
    wsgi.Response = Response
    wsgi.WSGIErrorsWrapper = lru_cache(maxsize=1)(wsgi.WSGIErrorsWrapper)  # new for each request
    util.http_date = _date
    util.write_error = _refuse


def before_waiting(call: Callable[[], None]) -> None:
    """Have *call* called by every thread that is about to wait for a client."""
    _BEFORE_WAITING[:] = [call]


_BEFORE_WAITING: list[Callable[[], None]] = []


def _will_wait() -> None:
    for call in _BEFORE_WAITING:
        call()


_CHUNK = 128 << 10  # bytes of chunks received at once; gunicorn's 1 MB go back to the kernel


# Requests -----------------------------------------------------------------------------------------


def _chunk(unreader: Any, wanted: int | None = None) -> bytes:
    """Return what comes next, as `SocketUnreader` does."""
    most = max(unreader.mxchunk, min(wanted or 0, unreader.max_body_chunk))
    try:
        came: bytes = unreader.sock.recv(most, socket.MSG_DONTWAIT)
    except BlockingIOError:
        _will_wait()
        came = unreader.sock.recv(most)
    return came


class Body(body.Body):  # type: ignore[misc] # gunicorn has no types
    """A body with a length, which is received where it is wanted instead of copied about."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill *buffer*, waiting until it is full or the body at its end; return how much came."""
        source, place = self.reader.unreader, buffer[: self.reader.length]
        came: int = min(source.buf.getbuffer().nbytes, len(place))  # with the request's head
        place[:came] = source.read(came)
        if rest := place[came:]:
            _will_wait()
            try:
                came += source.sock.recv_into(rest, 0, socket.MSG_WAITALL)
            except OSError:
                self.failed = True  # so the connection is closed
                raise
        self.reader.length -= came
        return came


class Request(message.Request):  # type: ignore[misc] # gunicorn has no types
    """A request of somebody who is believed neither scheme nor path (`forwarded_allow_ips`)."""

    body: Any

    def _peer_is_trusted_proxy(self) -> bool:
        return False

    def set_body_reader(self) -> None:
        """Say how the body is read."""
        super().set_body_reader()
        if isinstance(self.body.reader, body.LengthReader):
            self.body = Body(self.body.reader)

    def is_read(self) -> bool:
        """Return whether nothing of the body is still to come."""
        return isinstance(self.body, Body) and not self.body.reader.length


class Parser(parser.RequestParser):  # type: ignore[misc] # gunicorn has no types
    """The requests of a connection; where a body was read to its end, nothing is looked for."""

    mesg_class = Request

    def finish_body(self, deadline: float | None = None, max_bytes: int | None = None) -> bool:
        """Read what is left of a body; return whether the next request can be read."""
        if self.mesg and self.mesg.is_read():
            return True
        return bool(super().finish_body(deadline, max_bytes))


# Answers ------------------------------------------------------------------------------------------


class Response(wsgi.Response):  # type: ignore[misc] # gunicorn has no types
    """An answer; a body in one piece is sent with its head in one call of the kernel."""

    sock: Any

    def __init__(self, req: Any, sock: Any, cfg: Any) -> None:
        super().__init__(req, _Line(sock), cfg)

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        """
        Take the headers if they are well-formed.

        What names may be is looked at once, and of values each character: so all are one text.
        """
        found = dict(headers)
        is_plain = len(found) == len(headers) and _are_plain(*found)
        if is_plain and wsgi.HEADER_VALUE_RE.fullmatch("".join(found.values())):
            self.headers += found.items()
            if (length := found.get("content-length")) is not None:
                self.response_length = int(length)
        else:
            super().process_headers(headers)

    def write(self, arg: bytes) -> None:
        """Send a piece of the body, after the head."""
        is_whole = self.response_length == len(arg) and not self.chunked and not self._omits_body
        if self.headers_sent or not is_whole:
            super().write(arg)
            return
        line, head = self.sock, _Head()
        self.sock = head
        try:
            self.send_headers()
        finally:
            self.sock = line
        self.sent = len(arg)
        line.sendall(head.text + arg)


class _Line:
    """A connection to send on."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def sendall(self, text: bytes) -> None:
        try:
            sent = self._sock.send(text, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        if sent < len(text):
            _will_wait()
            self._sock.sendall(memoryview(text)[sent:])

    def sendfile(self, file: Any, offset: int, count: int) -> int:
        _will_wait()
        return self._sock.sendfile(file, offset, count)


class _Head:
    """Takes what is meant for a socket."""

    text = b""

    def sendall(self, text: bytes) -> None:
        self.text += text


@lru_cache
def _are_plain(*names: str) -> bool:
    """Return whether all are names of headers, as Falcon spells them, for the client alone."""
    return all(
        name.islower() and message.TOKEN_RE.fullmatch(name) and not util.is_hoppish(name)
        for name in names
    )


@lru_cache(maxsize=1)
def _http_date(seconds: int) -> str:
    """Return the HTTP date of *seconds* since the epoch."""
    return formatdate(seconds, usegmt=True)


def _date(timestamp: float | None = None) -> str:
    """Return the HTTP date of *timestamp*, or of now: made once a second, not for each answer."""
    return _http_date(int(time.time() if timestamp is None else timestamp))


def _refuse(line: Any, status: int, reason: str, detail: str) -> None:
    """Answer what is no request, as every other error is answered (RFC 9457)."""
    told = {"type": "about:blank", "status": status, "title": reason, "detail": detail}
    text = json.dumps(told).encode()
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(text)}\r\nX-Content-Type-Options: nosniff\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    util.write_nonblock(line, head.encode() + text)
