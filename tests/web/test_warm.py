"""Connections that have just been answered: who waits for them, and who does not wait for whom."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from tests.web.conftest import WRITER, Running
from web.warm import Warm


@dataclass
class Place:
    """Connections that answer with a letter, and what was done with them."""

    pool: ThreadPoolExecutor
    stack: ExitStack
    warm: Warm = field(init=False)
    served: list[tuple[Any, int]] = field(default_factory=list)
    given_back: list[tuple[Any, Any]] = field(default_factory=list)
    is_wanted: bool = True
    answers: dict[bytes, Callable[[], Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.warm = Warm(
            self.serve,
            lambda *told: self.given_back.append(told),
            self.pool.submit,
            lambda: self.is_wanted,
        )

    def connection(self) -> tuple[Any, socket.socket]:
        """A connection, and the client's end of it."""
        ours, theirs = socket.socketpair()
        self.stack.enter_context(ours)
        self.stack.enter_context(theirs)
        theirs.settimeout(10)
        return SimpleNamespace(sock=ours), theirs

    def serve(self, connection: Any) -> Any:
        """Do what the letter that came says."""
        asked = connection.sock.recv(1)
        self.served.append((connection, threading.get_ident()))
        stays = self.answers.get(asked, lambda: True)()
        connection.sock.sendall(asked)
        return stays


@pytest.fixture
def place() -> Iterator[Place]:
    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        yield Place(pool, stack)


def ask(client: socket.socket, letter: bytes = b"a") -> bytes:
    """What is answered."""
    client.sendall(letter)
    return client.recv(1)


def test_one_thread_serves_all(place: Place):
    """Those that ask on are served one after another by whoever was there first."""
    ends = [place.connection() for _ in range(4)]
    for _, client in ends:
        client.sendall(b"a")

    for connection, _ in ends:
        place.warm.keep(connection)

    assert {thread for _, thread in place.served} == {threading.get_ident()}
    assert [client.recv(1) for _, client in ends] == [b"a"] * 4


def test_silent_connections_are_given_back(place: Place):
    """Who asks nothing for a moment costs no thread."""
    connection, _ = place.connection()

    place.warm.keep(connection)

    assert place.given_back == [(connection, True)]
    assert place.served == []


def test_connection_that_does_not_stay_is_given_back_so(place: Place):
    """What was said of it is handed on."""
    place.answers[b"q"] = lambda: False
    connection, client = place.connection()
    client.sendall(b"q")

    place.warm.keep(connection)

    assert place.given_back == [(connection, False)]


def test_who_is_wanted_elsewhere_gives_back_all(place: Place):
    """Nobody is served while others wait for a thread."""
    place.is_wanted = False
    connection, client = place.connection()
    client.sendall(b"a")

    place.warm.keep(connection)

    assert (place.given_back, place.served) == ([(connection, True)], [])


def test_who_waits_leads_no_more(place: Place):
    """While a leader that has stepped down waits, others serve what is there and what comes."""
    is_over = threading.Event()

    def wait() -> bool:
        one.sendall(b"a")  # or it would be given back when nobody asks for a moment
        place.warm.step_down()
        return is_over.wait(10)

    place.answers[b"w"] = wait
    (slow, slow_client), (had, one), (new, other) = (place.connection() for _ in range(3))
    slow_client.sendall(b"w")
    place.warm._add(had)
    place.pool.submit(place.warm.keep, slow)
    assert one.recv(1) == b"a"
    other.sendall(b"a")
    place.pool.submit(place.warm.keep, new)
    assert other.recv(1) == b"a"
    is_over.set()
    assert slow_client.recv(1) == b"w"


def test_failure_in_serving_leaves_the_others_a_leader(place: Place):
    """Whatever is raised, the other connections are served."""

    def fail() -> None:
        client.sendall(b"a")
        raise RuntimeError("as ordered")

    place.answers[b"f"] = fail
    (bad, bad_client), (good, client) = place.connection(), place.connection()
    bad_client.sendall(b"f")
    place.warm._add(good)

    with pytest.raises(RuntimeError):
        place.warm.keep(bad)

    assert client.recv(1) == b"a"


def test_leading_is_for_a_spell(place: Place):
    """Silent connections are not kept for ever by one that asks without end."""
    (busy, busy_client), (silent, _) = place.connection(), place.connection()
    is_over = threading.Event()

    def hammer() -> None:
        while not is_over.is_set():
            ask(busy_client)

    place.warm._add(silent)
    hammering = threading.Thread(target=hammer)
    hammering.start()
    place.warm.keep(busy)
    is_over.set()
    while hammering.is_alive():  # it may have one more answer to come
        place.warm.keep(busy)

    assert silent in [each for each, _ in place.given_back]


# The service -------------------------------------------------------------------------------------


BLOB = "/cas/" + "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""Of no bytes."""

GET = f"GET {BLOB} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
PUT = f"PUT {BLOB} HTTP/1.1\r\nHost: a\r\nAuthorization: {WRITER['Authorization']}\r\n".encode()


@pytest.fixture
def lines(gunicorn: Running) -> Iterator[list[socket.socket]]:
    """Eight connections, so that no worker is without; the blob is there."""
    with ExitStack() as stack:
        address = ("127.0.0.1", gunicorn.port)
        made = [socket.create_connection(address, timeout=10) for _ in range(8)]
        for line in made:
            stack.enter_context(line)
        made[0].sendall(PUT + b"Content-Length: 0\r\n\r\n")
        assert made[0].recv(65536).startswith(b"HTTP/1.1 20")
        yield made


def get(line: socket.socket) -> bytes:
    """The status of the blob's answer."""
    line.sendall(GET)
    return line.recv(65536)[9:12]


def hammered(lines: list[socket.socket], number: int = 200) -> list[bytes]:
    """The statuses of so many requests on each line, all lines at once."""
    with ThreadPoolExecutor(len(lines)) as pool:
        found = pool.map(lambda line: [get(line) for _ in range(number)], lines)
        return [status for statuses in found for status in statuses]


@pytest.mark.parametrize(
    "stalled",
    [
        b"GET /cas/",
        PUT + b"Content-Length: 9\r\n\r\nbeg",
        PUT + b"Transfer-Encoding: chunked\r\n\r\n9\r\n",
    ],
    ids=["head", "body", "chunk"],
)
def test_half_a_request_holds_nobody_up(lines: list[socket.socket], stalled: bytes):
    """A connection among others that ask without end begins a request, and they go on."""
    with ThreadPoolExecutor(1) as pool:
        going_on = pool.submit(hammered, lines[4:])
        for line in lines[:4]:
            assert get(line) == b"200"
            line.sendall(stalled)
        statuses = going_on.result(30)

    assert statuses == [b"200"] * 800
    assert hammered(lines[4:], 20) == [b"200"] * 80


def ask_and_never_read(
    lines: list[socket.socket], path: bytes, is_over: Callable[[], bool]
) -> None:
    """Ask on all lines for what is at *path*, once and again, as long as they take requests."""
    while not is_over():
        for line in lines:
            with suppress(BlockingIOError):
                line.send(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.001)


def test_client_that_does_not_read_holds_nobody_up(gunicorn: Running, lines: list[socket.socket]):
    """One that asks and asks, and reads nothing, fills its own connection alone."""
    content = b"x" * 60_000
    path = f"/cas/{sha256(content).hexdigest()}"
    requests.put(gunicorn.url + path, content, headers=WRITER, timeout=10)
    for line in lines[:4]:
        line.setblocking(False)
    with ThreadPoolExecutor(1) as pool:
        going_on = pool.submit(hammered, lines[4:], 1000)
        ask_and_never_read(lines[:4], path.encode(), going_on.done)

    assert going_on.result() == [b"200"] * 4000


def read(line: socket.socket, number: int) -> list[bytes]:
    """The statuses of so many answers without a body."""
    text = b""
    while text.count(b"\r\n\r\n") < number:
        text += line.recv(65536)
    return re.findall(rb"HTTP/1\.1 (\d+) ", text)


def test_requests_one_behind_the_other_are_all_answered(lines: list[socket.socket]):
    """What was sent before it was asked for is answered, in order."""
    known = GET.replace(b"\r\n\r\n", b"\r\nIf-None-Match: *\r\n\r\n")
    lines[0].sendall(GET + known + GET)

    assert read(lines[0], 3) == [b"200", b"304", b"200"]
