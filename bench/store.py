"""
``python -m bench.store``: how fast is the file service, beside nginx on the same files?

GET and PUT of 200 MB, one at a time; GET and PUT of 4 KB with 8 clients. Both servers run at once
and take turns, round after round, so that what else the machine does hits both; each gets its
median, and the median of the rounds' ratios. The client is one thread on raw sockets, the same for
both. nginx neither hashes nor syncs what it is sent; before a large PUT is timed, all that was left
to be written is, so that neither server waits for what the other left.
"""

import argparse
import hashlib
import os
import platform
import re
import secrets
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cbngtrain.store import DirectoryStore

LARGE = 200 << 20  # bytes
SMALL = 4 << 10  # bytes
CLIENTS = 8
COUNTED = 5000  # requests over which processor time is taken
TOKEN = "bench"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin")

CONFIGURATION = """
daemon off; worker_processes auto; pid {folder}/pid; error_log {folder}/error.log;
user {user};
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; client_max_body_size 0;
  client_body_temp_path {store}/nginx/body; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    root {store};
    location /nginx/ {{ dav_methods PUT; create_full_put_path on; }}
  }}
}}
"""


@dataclass
class Server:
    """
    One of the two.

    Attributes:
        name: What it is called in the table.
        port: Where it listens.
        get: The path of a blob.
        put: Where a blob is put.
    """

    name: str
    port: int
    get: Callable[[str], str]
    put: Callable[[str], str]
    times: dict[str, list[float]] = field(default_factory=dict)


# Servers -----------------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def _running(command: Sequence[str], port: int, env: dict[str, str]) -> Iterator[int]:
    """Run a server until the block ends; give its process."""
    with subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait(port)
            yield process.pid
        finally:
            process.terminate()


def _wait(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(port)


@contextmanager
def _service(store: Path) -> Iterator[tuple[Server, int]]:
    """Run the file service."""
    port = _free_port()
    command = [sys.executable, "-m", "cbngtrain.cli", "run-file-api",
               "--base-dir", str(store), "--bind", f"127.0.0.1:{port}"]  # fmt: skip
    env = {"PATH": os.environ["PATH"], "FILE_API_KEY": TOKEN}  # noqa: TID251 - a bench's own
    with _running(command, port, env) as pid:
        yield Server("file service", port, lambda d: f"/cas/{d}", lambda d: f"/cas/{d}"), pid


@contextmanager
def _nginx(store: Path, folder: Path) -> Iterator[tuple[Server, int]]:
    """Run nginx over the same directory."""
    assert NGINX, "there is no nginx: apt-get install nginx-light"
    port = _free_port()
    (store / "nginx").mkdir()
    user = "root root" if os.getuid() == 0 else "nobody"
    told = CONFIGURATION.format(folder=folder, store=store, port=port, user=user)
    (folder / "nginx.conf").write_text(told)
    command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with _running(command, port, {}) as pid:
        yield Server("nginx", port, lambda d: f"/cas/{d[:2]}/{d}", lambda d: f"/nginx/{d}"), pid


# Client ------------------------------------------------------------------------------------------


def _head(method: str, path: str, length: int | None = None) -> bytes:
    """The head of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench", f"Authorization: Bearer {TOKEN}"]
    lines += [] if length is None else [f"Content-Length: {length}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _status_and_length(head: bytes) -> tuple[int, int]:
    """What an answer's head says."""
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    return int(head[9:12]), int(length[1]) if length else 0


def _answered(line: socket.socket) -> None:
    """Read one answer to its end."""
    buffer = bytearray(1 << 20)
    got = line.recv(65536)
    while b"\r\n\r\n" not in got:
        got += line.recv(65536)
    head, _, rest = got.partition(b"\r\n\r\n")
    status, length = _status_and_length(head)
    assert 200 <= status < 300, head
    left = length - len(rest)
    while left > 0:
        left -= line.recv_into(buffer)


def get_large(server: Server, digest: str) -> float:
    """Seconds to get a blob."""
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        began = time.perf_counter()
        line.sendall(_head("GET", server.get(digest)))
        _answered(line)
        return time.perf_counter() - began


def put_large(server: Server, digest: str, path: Path) -> float:
    """Seconds to put a blob."""
    with socket.create_connection(("127.0.0.1", server.port)) as line, path.open("rb") as file:
        began = time.perf_counter()
        line.sendall(_head("PUT", server.put(digest), path.stat().st_size))
        line.sendfile(file)
        _answered(line)
        return time.perf_counter() - began


def many(server: Server, requests: Sequence[bytes], seconds: float) -> float:
    """
    Requests per second of 8 clients, each sending its next request when it has its answer.

    It ends when *seconds* are over or when all *requests* were answered once.
    """
    poll, left = select.epoll(), iter(requests)
    clients: dict[int, _Client] = {}
    for _ in range(CLIENTS):
        line = socket.create_connection(("127.0.0.1", server.port))
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(line, select.EPOLLIN)
        clients[line.fileno()] = _Client(line)
        line.sendall(next(left))
    began, done, busy = time.perf_counter(), 0, CLIENTS
    while busy:
        for number, _ in poll.poll():
            client = clients[number]
            if not client.has_answer():
                continue
            done += 1
            request = next(left, None) if time.perf_counter() - began < seconds else None
            if request is None:
                poll.unregister(client.line)
                busy -= 1
            else:
                client.line.sendall(request)
    took = time.perf_counter() - began
    poll.close()
    for client in clients.values():
        client.line.close()
    return done / took


@dataclass(slots=True)
class _Client:
    """A connection, what came of an answer's head, and the bytes of its body to come."""

    line: socket.socket
    head: bytes = b""
    left: int = 0

    def has_answer(self) -> bool:
        """Read what is there; return whether the answer is whole now."""
        got = self.line.recv(65536)
        assert got, "the server closed the connection"
        if self.left:
            self.left -= len(got)
            return not self.left
        got = self.head + got
        end = got.find(b"\r\n\r\n")
        self.head = got if end < 0 else b""
        if end < 0:
            return False
        status, length = _status_and_length(got[:end])
        assert 200 <= status < 300, got[:end]
        self.left = length - (len(got) - end - 4)
        return not self.left


# Rounds ------------------------------------------------------------------------------------------


class Bench:
    """What is put and got, and where."""

    def __init__(self, store: Path, folder: Path) -> None:
        self.store, self.folder = store, folder
        self.large = folder / "large"
        with self.large.open("wb") as file:
            for _ in range(LARGE >> 20):
                file.write(secrets.token_bytes(1 << 20))
        with self.large.open("rb") as file:
            self.large_digest = hashlib.file_digest(file, "sha256").hexdigest()

    def round(self, server: Server, small: str, seconds: float) -> dict[str, float]:
        """One round on one server: megabytes and requests per second."""
        put = statistics.median(self._put_large(server) for _ in range(3))
        get_large(server, self.large_digest)
        get = statistics.median(get_large(server, self.large_digest) for _ in range(3))
        gets = [_head("GET", server.get(small))] * 1_000_000
        blobs = [secrets.token_bytes(SMALL) for _ in range(3000)]
        puts = [
            _head("PUT", server.put(hashlib.sha256(blob).hexdigest()), SMALL) + blob
            for blob in blobs
        ]
        return {
            "PUT 200 MB, MB/s": LARGE / 1e6 / put,
            "GET 200 MB, MB/s": LARGE / 1e6 / get,
            "GET 4 KB, 8 clients, 1/s": many(server, gets, seconds),
            "PUT 4 KB, 8 clients, 1/s": many(server, puts, seconds),
        }

    def _put_large(self, server: Server) -> float:
        """Seconds to put the large blob, which is not there, on a disk with nothing to write."""
        place = self.store / "cas" / self.large_digest[:2] / self.large_digest
        place.unlink(missing_ok=True)
        os.sync()
        took = put_large(server, self.large_digest, self.large)
        if server.name == "nginx":
            place.parent.mkdir(exist_ok=True)
            (self.store / "nginx" / self.large_digest).rename(place)
        return took


def memory(master: int) -> float:
    """The most memory, in MB, that a worker ever had."""
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in children]
    return max(int(peak) / 1024 for text in texts for peak in re.findall(r"VmHWM:\s+(\d+)", text))


def processor(leader: int) -> float:
    """Seconds of processor time that a server, with its workers, has had."""
    children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
    fields = [Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()
              for p in (leader, *children)]  # fmt: skip
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def cost_of_gets(server: Server, pid: int, request: bytes) -> tuple[float, float]:
    """Microseconds of processor time of a small GET: the server's, and this client's."""
    before, own = processor(pid), time.process_time()
    many(server, [request] * COUNTED, 120)
    per = 1e6 / COUNTED
    return (processor(pid) - before) * per, (time.process_time() - own) * per


def least_of_disk(folder: Path) -> float:
    """Seconds that the disk takes for 200 MB and syncing them, and nothing else; best of five."""
    piece = secrets.token_bytes(1 << 20)
    return min(_written(folder / "plain", piece) for _ in range(5))


def _written(path: Path, piece: bytes) -> float:
    """Seconds to write *piece*, over and over, and sync it."""
    os.sync()
    with path.open("wb", buffering=0) as file:
        began = time.perf_counter()
        for _ in range(LARGE // len(piece)):
            file.write(piece)
        os.fsync(file.fileno())
        took = time.perf_counter() - began
    path.unlink()
    return took


def cost_of_syncing(store: Path, large: Path) -> tuple[float, float]:
    """Seconds to store 200 MB as the service does, without and with syncing; the best of five."""
    blobs = DirectoryStore(store)
    times: dict[bool, list[float]] = {False: [], True: []}
    for is_synced in (False, True) * 5:
        sync = os.fsync
        os.fsync = sync if is_synced else lambda _: None  # type: ignore[assignment] # to measure
        try:
            began = time.perf_counter()
            digest = blobs.add(large)
            times[is_synced].append(time.perf_counter() - began)
        finally:
            os.fsync = sync
        blobs.path(digest).unlink()
        os.sync()  # what one leaves to be written is not the next one's
    return min(times[False]), min(times[True])


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="for each kind of small request")
    arguments = parser.parse_args()
    _warn_if_busy()
    with tempfile.TemporaryDirectory(prefix="bench-store-") as path:
        folder = Path(path)
        store = folder / "store"
        store.mkdir(mode=0o755)
        with _service(store) as (service, pid), _nginx(store, folder) as (nginx, other):
            _report(Bench(store, folder), (service, nginx), (pid, other), arguments)


def _warn_if_busy() -> None:
    """Say so where the machine has other work: what it measures then is that."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores / 2:
        print(
            f"load {load:.1f} on {cores} cores before it begins: nothing below is to be relied on"
        )


def _report(
    bench: Bench,
    servers: tuple[Server, Server],
    pids: tuple[int, int],
    arguments: argparse.Namespace,
) -> None:
    """Run all rounds and print what came out."""
    blob = secrets.token_bytes(SMALL)
    small = hashlib.sha256(blob).hexdigest()
    many(servers[0], [_head("PUT", f"/cas/{small}", SMALL) + blob] * CLIENTS, 1)
    many(servers[0], [_head("GET", servers[0].get(small))] * 200, 1)
    before = memory(pids[0])
    for _ in range(arguments.rounds):
        for server in servers:
            for name, speed in bench.round(server, small, arguments.seconds).items():
                server.times.setdefault(name, []).append(speed)
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
          f"Python {platform.python_version()}, {arguments.rounds} rounds")  # fmt: skip
    print(f"{'':28}{'file service':>14}{'nginx':>10}{'ratio':>8}   lowest to highest ratio")
    ours, theirs = (server.times for server in servers)
    for name, speeds in ours.items():
        print(_row(name, speeds, theirs[name]))
    for server, pid in zip(servers, pids, strict=True):
        cost, own = cost_of_gets(server, pid, _head("GET", server.get(small)))
        idle = (os.cpu_count() or 1) * 1e6 / (cost + own)
        print(f"processor time of a 4 KB GET: {server.name} {cost:.0f} µs, this client {own:.0f} "
              f"µs; with nothing else to do these cores would answer {idle:.0f}/s")  # fmt: skip
    print(f"memory of a worker: {before:.0f} MB before, {memory(pids[0]):.0f} MB at most")
    bare, synced = cost_of_syncing(bench.store, bench.large)
    print(f"200 MB hashed and stored as the service does: {bare:.2f} s without fsync, "
          f"{synced:.2f} s with it: fsync costs {100 * (synced / bare - 1):.0f} %")  # fmt: skip
    print(f"200 MB only written and synced, neither received nor hashed: "
          f"{least_of_disk(bench.folder):.2f} s, which the disk allows")  # fmt: skip


def _row(name: str, ours: Sequence[float], theirs: Sequence[float]) -> str:
    """A line of the table."""
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    medians = f"{statistics.median(ours):14.0f}{statistics.median(theirs):10.0f}"
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    return f"{name:28}{medians}{statistics.median(ratios):8.2f}   {spread}"


if __name__ == "__main__":
    main()
