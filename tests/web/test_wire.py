"""What takes the place of gunicorn's own reading and writing, beside gunicorn's."""

import socket

import pytest
from gunicorn.config import Config
from gunicorn.http import errors

from web import wire


@pytest.fixture
def answer():
    return wire.Response(None, None, Config())


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("X-Name", "one\r\nSet-Cookie: two", errors.InvalidResponseHeader),
        ("x-name", "one\r\nset-cookie: two", errors.InvalidResponseHeader),
        ("x-name", "a\0b", errors.InvalidResponseHeader),
        ("x name", "value", errors.InvalidResponseHeaderName),
        ("X-Name", "a\0b", errors.InvalidResponseHeader),
        ("X-Name", "\u2028", errors.InvalidResponseHeader),
        ("X Name", "value", errors.InvalidResponseHeaderName),
        ("X-Name:", "value", errors.InvalidResponseHeaderName),
        ("", "value", errors.InvalidResponseHeaderName),
    ],
)
def test_header_that_would_be_two(answer, name, value, error):
    """A header that a client could read as another one is not sent, at the second time neither."""
    answer.process_headers([("X-Name", "value"), ("x-name", "value")])
    with pytest.raises(error):
        answer.process_headers([(name, value)])
    with pytest.raises(error):
        answer.process_headers([(name, value)])


def test_headers_that_mean_something(answer):
    """The length is taken note of, and what only concerns one connection is the server's to say."""
    told = [("ETag", '"1"'), ("content-length", "7"), ("Connection", "close"), ("TE", "trailers")]
    answer.process_headers(told)
    assert answer.headers == told[:2]
    assert answer.response_length == 7


def test_header_that_is_there_twice(answer):
    """Both are sent."""
    told = [("vary", "accept"), ("vary", "range")]
    answer.process_headers(told)
    assert answer.headers == told


def test_body_is_received_where_it_is_wanted():
    """A body comes to its last byte, with what came beside the head, and nothing that follows."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nfirst")
        request = next(wire.Parser(Config(), ours, ("127.0.0.1", 1)))
        theirs.sendall(b"lastHEAD")
        buffer = memoryview(bytearray(64))
        came = request.body.readinto(buffer)
        assert (bytes(buffer[:came]), request.is_read()) == (b"firstlast", True)
        assert ours.recv(64) == b"HEAD"
