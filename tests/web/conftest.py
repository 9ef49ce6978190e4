"""A file service over a store in a temporary directory: called directly, and over a socket."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from falcon import testing

from cbngtrain.step import Digest
from cbngtrain.store import DirectoryStore
from tests.web.described import Described
from web.app import create_app
from web.auth import Tokens
from web.service import Service
from web.tree import Tree

TOKEN = "sesame"
WRITER = {"Authorization": f"Bearer {TOKEN}"}
TIME = "2025-08-01 18:36:31"
LATER = "2025-08-02 00:00:00"
KEEP_ALIVE = "02"  # a timer of the kernel's table of connections

_TIME_WAIT = "06"
_LISTEN = "0A"

_ENV = {"PATH": os.environ["PATH"], "FILE_API_KEY": f"{TOKEN}, older", "CBNG_KEEP_FREE": "0"}  # noqa: TID251 - a test's own


def digest_of(content: bytes) -> Digest:
    """Return the sha256 of *content*."""
    return Digest(hashlib.sha256(content).hexdigest())


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


@pytest.fixture
def service(store: DirectoryStore) -> Service:
    return Service(store, Tree(store), Tokens([TOKEN, "older"]), largest=1 << 20, keep_free=0)


@pytest.fixture
def client(service: Service) -> testing.TestClient:
    return Described(create_app(service))


@pytest.fixture
def put(client: testing.TestClient) -> Callable[[bytes], Digest]:
    """Store a blob through the service."""

    def put(content: bytes) -> Digest:
        digest = digest_of(content)
        headers = {**WRITER, "Content-Length": str(len(content))}
        client.simulate_put(f"/cas/{digest}", body=content, headers=headers)
        return digest

    return put


@dataclass
class Running:
    """A gunicorn of our own."""

    url: str
    port: int
    root: Path
    process: subprocess.Popen[bytes]
    log: Path

    def send(self, raw: bytes, timeout: float = 10) -> bytes:
        """Send raw bytes, half-close, and return all that is answered."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as line:
            line.sendall(raw)
            with suppress(OSError):  # the server may have closed already
                line.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: line.recv(65536), b""))

    def connections(self) -> dict[int, str]:
        """Its open connections: the client's port, and which timer runs for it."""
        found = {}
        for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            local, remote, state, _, timer = row.split()[1:6]
            if local.endswith(f":{self.port:04X}") and state not in {_TIME_WAIT, _LISTEN}:
                found[int(remote.partition(":")[2], 16)] = timer[:2]
        return found


@contextmanager
def serving(
    root: Path,
    env: Mapping[str, str] | None = None,
    port: int = 0,
    host: str = "127.0.0.1",
    output: str = "",
) -> Iterator[Running]:
    """
    Serve the store in *root* with the real gunicorn, on a loopback port unless told where.

    *output* is what a shell does with its standard output, if that is not to be the log.
    """
    with _listener(port, host) as listener:
        port = listener.getsockname()[1]
        log = root.with_name(f"{root.name}.{port}.log")
        with log.open("ab") as file:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL",  # when the tests are killed
                 "sh", "-c", f'exec "$@" {output}', "sh",
                 sys.executable, "-m", "cbngtrain.cli", "run-file-api", "--base-dir", str(root),
                 "--bind", f"fd://{listener.fileno()}"],
                env={**_ENV, "TMPDIR": str(root.parent), **(env or {})},
                stdout=file, stderr=file, pass_fds=[listener.fileno()],
                start_new_session=True,
            )  # fmt: skip
    try:
        wait_for_answer(f"http://{host}:{port}/")
        yield Running(f"http://{host}:{port}", port, root, process, log)
    finally:
        kill_group(process.pid)
        process.wait()


@contextmanager
def serving_anew(places: pytest.TempPathFactory) -> Iterator[Running]:
    """Serve a store that is empty, in a place of its own."""
    root = places.mktemp("served") / "store"
    root.mkdir()
    with serving(root) as running:
        yield running


def kill_group(leader: int) -> None:
    """Kill what is left of a gunicorn's process group."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _listener(port: int, host: str) -> socket.socket:
    """Listen on a port; one that a killed server had is free when its workers are gone."""
    for _ in range(50):
        with suppress(OSError):
            return socket.create_server((host, port), backlog=2048)  # as the service's own
        time.sleep(0.1)
    raise TimeoutError(port)


def wait_for_answer(url: str) -> None:
    """Return when a service answers there. Raises TimeoutError."""
    for _ in range(100):
        try:
            requests.get(url, timeout=5)
        except requests.RequestException:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(url)


@pytest.fixture(scope="session")
def gunicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One gunicorn for all tests that need a real socket and not a store of their own."""
    with serving_anew(tmp_path_factory) as running:
        yield running
