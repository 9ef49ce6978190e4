"""What the store's client is tested against: a server that answers by script; and its patience."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from cbngtrain.http_client import Patience
from tests.web.conftest import digest_of


@pytest.fixture
def slept():
    """How long the client waited, each time."""
    return []


@pytest.fixture
def patience(slept):
    """Patience that takes no time."""
    return lambda: Patience(sleep=slept.append, jitter=lambda: 1.0)


class Wire:
    """
    A server that answers each connection with the next of its scripts, and keeps what it read.

    A script is what it sends; the connection is closed after it. The last one is used again.
    """

    def __init__(self, *scripts: bytes) -> None:
        self.scripts = list(scripts)
        self.asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                with line:
                    self.asked.append(line.recv(1 << 20))
                    line.sendall(self.scripts.pop(0) if self.scripts[1:] else self.scripts[0])

    def close(self) -> None:
        """Answer no more."""
        self._listener.close()


@pytest.fixture
def wire() -> Iterator[Callable[..., Wire]]:
    """Make such servers, and close them."""
    made = []

    def make(*scripts: bytes) -> Wire:
        made.append(Wire(*scripts))
        return made[-1]

    yield make
    for each in made:
        each.close()


def answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    """An answer on the wire."""
    told = {"Content-Length": str(len(body)), "Connection": "close"}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in told.items()), "", ""]
    return "\r\n".join(lines).encode() + body


CONTENT = bytes(range(256)) * 40
DIGEST = digest_of(CONTENT)
