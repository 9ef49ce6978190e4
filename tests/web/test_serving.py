"""The service as gunicorn runs it: stopping, many connections, replicas, log, health, metrics."""

import json
import os
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests
from gunicorn.config import Config
from prometheus_client.parser import text_string_to_metric_families

import web.serving
from cbngtrain.http_store import HttpStore
from cbngtrain.step import Artifact, Record, fingerprint_of
from tests.conftest import most_memory, wait_until
from tests.web.conftest import KEEP_ALIVE, TOKEN, WRITER, digest_of, serving


def upload(running, content):
    """Store a blob; return its URL."""
    url = f"{running.url}/cas/{digest_of(content)}"
    requests.put(url, content, headers=WRITER, timeout=60)
    return url


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (f"GET /{'x' * 9000} HTTP/1.1", b"414"),
        (f"GET / HTTP/1.1\r\nX-Long: {'x' * 9000}", b"431"),
        ("GET / HTTP/1.1" + "".join(f"\r\nX-{i}: 1" for i in range(100)), b"431"),
        ("GET / HTTP/9.9", b"400"),
        ("G@T / HTTP/1.1", b"400"),
        ("GET /\x00 HTTP/1.1", b"400"),
    ],
    ids=["line", "header", "headers", "version", "method", "NUL"],
)
def test_limits(gunicorn, line, status):
    """Requests that are too long, or none, are refused as every other error is told."""
    answer = gunicorn.send(f"{line}\r\nHost: store\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    told = json.loads(body)
    assert (head.split(b" ")[1], told["status"]) == (status, int(status))
    assert b"Content-Type: application/problem+json" in head
    assert told.keys() == {"type", "status", "title", "detail"}


@pytest.mark.parametrize("header", ["Script_Name: /_", "Path_Info: /nothing", "SCRIPT_NAME: /x"])
def test_path_is_in_the_first_line_alone(gunicorn, header):
    """No header takes the place of the path, wherever it comes from."""
    answer = gunicorn.send(f"GET /_/health HTTP/1.1\r\nHost: store\r\n{header}\r\n\r\n".encode())
    assert b'{"status": "well"}' in answer


def test_large_file(gunicorn):
    """A file larger than any buffer arrives whole, and so does any part of it."""
    content = os.urandom(20_000_000)
    url = upload(gunicorn, content)
    part = requests.get(url, headers={"Range": "bytes=7000000-17000000"}, timeout=60)
    assert requests.get(url, timeout=60).content == content
    assert part.content == content[7_000_000:17_000_001]


def test_pipelined(gunicorn):
    """Requests on one connection are answered one after another, none with another's bytes."""
    ask = "HEAD {} HTTP/1.1\r\nHost: store\r\n\r\n"
    paths = ["/nothing", f"/cas/{'0' * 64}", "/_/health"]
    answers = gunicorn.send("".join(map(ask.format, paths)).encode())
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"404", b"404", b"200"]


@pytest.mark.skipif(web.serving.workers < 2, reason="there is one core, hence one worker")
def test_workers_share_connections(gunicorn):
    """Of connections that come at once no worker leaves all to another."""
    children = Path(f"/proc/{gunicorn.process.pid}/task/{gunicorn.process.pid}/children")
    workers = children.read_text().split()
    wait_until(lambda: all(map(_is_listening, workers)))
    before = [_open(worker, "socket:") for worker in workers]
    with ExitStack() as stack:
        ask = b"GET /_/static/icon.svg HTTP/1.1\r\nHost: store\r\n\r\n"
        lines = [socket.create_connection(("127.0.0.1", gunicorn.port)) for _ in range(64)]
        for line in lines:
            stack.enter_context(line).sendall(ask)
        for line in lines:
            assert line.recv(12) == b"HTTP/1.1 200"
        shares = [_open(w, "socket:") - b for w, b in zip(workers, before, strict=True)]
    assert min(shares) > 64 / len(workers) / 4


def _is_listening(process):
    """Whether a worker waits for connections: a socket, and a pipe of its own, are watched."""
    folder = Path(f"/proc/{process}")
    watched = []
    for link in (folder / "fd").iterdir():
        with suppress(FileNotFoundError):
            if str(link.readlink()) == "anon_inode:[eventpoll]":
                watched.append((folder / "fdinfo" / link.name).read_text().count("tfd:"))
    return max(watched, default=0) > 1


def _open(process, kind):
    """How many descriptors of this kind a process has open."""
    found = 0
    for link in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has just been closed
            found += str(link.readlink()).startswith(kind)
    return found


@pytest.mark.parametrize("output", [">&-", ">/dev/full"])
def test_log_that_cannot_be_written(tmp_path, output):
    """Where the log's lines cannot go, all is served as ever, on one connection."""
    with serving(tmp_path / "store", output=output) as running:
        ask = b"GET /_/health HTTP/1.1\r\nHost: store\r\n\r\n"
        answers = running.send(ask * 3)
        leads_to = Path(f"/proc/{running.process.pid}/fd/1").readlink()
    assert answers.count(b'{"status": "well"}') == 3
    assert str(leads_to) in {"/dev/null", "/dev/full"}
    assert "Traceback" not in running.log.read_text()


def test_log(gunicorn):
    """The log has a line per request, that no path can break; no token is in it."""
    requests.get(f"{gunicorn.url}/a%0aFAKE%20line?token={TOKEN}", headers=WRITER, timeout=10)
    wait_until(lambda: "GET /a%0AFAKE%20line 404" in gunicorn.log.read_text())
    assert TOKEN not in gunicorn.log.read_text()


def test_metrics(gunicorn):
    """What all workers did is added up, whichever of them is asked."""
    url = upload(gunicorn, b"counted")
    before = _value(gunicorn, "cbng_requests_total", route="/cas/{key:digest}", status="200")
    for _ in range(20):
        requests.get(url, timeout=10)

    def counted():
        return _value(gunicorn, "cbng_requests_total", route="/cas/{key:digest}", status="200")

    wait_until(lambda: counted() - before >= 20)
    assert counted() - before == 20
    assert _value(gunicorn, "cbng_sent_bytes_total", route="/cas/{key:digest}") >= 140
    assert _value(gunicorn, "cbng_request_seconds_count", route="/cas/{key:digest}") >= 20
    assert _value(gunicorn, "cbng_taken_bytes_total", route="/cas/{key:digest}") >= 7
    assert _value(gunicorn, "cbng_disk_free_bytes") > 0
    assert _value(gunicorn, "cbng_blobs") >= 0


def test_metrics_of_workers_that_ended(tmp_path):
    """What a worker has counted stays counted when it is killed, or replaced by another."""
    root = tmp_path / "store"
    root.mkdir()
    with serving(root) as running:
        for _ in range(40):
            requests.get(f"{running.url}/_/health", timeout=10)
        wait_until(lambda: _checks(running) == 40)
        first = _workers(running.process.pid)
        os.kill(int(first[0]), signal.SIGKILL)
        wait_until(lambda: first[0] not in _workers(running.process.pid))
        assert _checks(running) == 40
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not {*first} & {*_workers(running.process.pid)})
        assert _checks(running) == 40


def _workers(master: int) -> list[str]:
    return Path(f"/proc/{master}/task/{master}/children").read_text().split()


def _checks(running):
    """How often the service's health was asked for, as its metrics tell."""
    return _value(running, "cbng_requests_total", route="/_/health", method="GET")


def test_blobs_are_counted_anew(client, put):
    """What comes in is soon in the numbers, however often they are asked for."""
    put(b"one")
    assert "cbng_blobs 1.0" in client.simulate_get("/_/metrics").text
    put(b"two")
    wait_until(lambda: "cbng_blobs 2.0" in client.simulate_get("/_/metrics").text)


def _value(running, name, **labels):
    """The sum of the samples of a metric that have these labels."""
    text = requests.get(f"{running.url}/_/metrics", timeout=10).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_health(client, store):
    """A store that can be written and read is well, and nothing is left of the probe."""
    store.root.mkdir()
    got = client.simulate_get("/_/health")
    assert (got.status_code, got.json, list(store.root.iterdir())) == (200, {"status": "well"}, [])


def test_ill(client, store):
    """A store that cannot be written is not well, and the reason is told."""
    store.root.write_text("no directory")
    got = client.simulate_get("/_/health")
    assert (got.status_code, got.json["detail"]) == (503, "the store's directory: Not a directory")


def test_metrics_of_one_process(client):
    """Without gunicorn there are metrics too."""
    assert "cbng_disk_free_bytes" in client.simulate_get("/_/metrics").text


def test_replicas(tmp_path):
    """Two services on one directory are one store: what goes in at one comes out at the other."""
    root = tmp_path / "store"
    root.mkdir()
    with serving(root) as one, serving(root) as two, ThreadPoolExecutor(8) as pool:
        stores = [HttpStore(one.url, TOKEN), HttpStore(two.url, TOKEN)]
        (tmp_path / "a").write_bytes(b"first")
        (tmp_path / "b").write_bytes(b"other")
        a, b = stores[0].add(tmp_path / "a"), stores[1].add(tmp_path / "b")
        parts = {"command": "train"}
        records = [
            Record(fingerprint_of(parts), (Artifact("x", each, each, 5),), None, parts)
            for each in (a, b)
        ]
        stand = list(pool.map(lambda i: stores[i % 2].keep(records[i % 2]), range(16)))
        found = [store.find(records[0].fingerprint) for store in stores]
        stores[0].fetch(b, tmp_path / "out")
    assert [each == stand[0] for each in stand + found] == [True] * 18
    assert (tmp_path / "out").read_bytes() == b"other"


def test_idle_connections(gunicorn):
    """A thousand connections that say nothing hold nobody up."""
    address = ("127.0.0.1", gunicorn.port)
    with ExitStack() as held:
        for _ in range(1000):
            held.enter_context(socket.create_connection(address, timeout=10))
        began = time.monotonic()
        statuses = [requests.get(f"{gunicorn.url}/_/health", timeout=10).status_code for _ in "12"]
        took = time.monotonic() - began
    assert (statuses, took < 2) == ([200, 200], True)


def test_clients_that_are_gone(gunicorn):
    """A client is asked now and then whether its machine is there: none is waited for for ever."""
    with socket.create_connection(("127.0.0.1", gunicorn.port)) as line:
        line.sendall(b"PUT / HTTP/1.1\r\nContent-Le")
        client = line.getsockname()[1]
        wait_until(lambda: gunicorn.connections().get(client) == KEEP_ALIVE)


def test_stopping_lets_a_transfer_end(tmp_path):
    """A service that is told to stop ends what it is sending first."""
    root = tmp_path / "store"
    root.mkdir()
    content = os.urandom(30_000_000)
    with serving(root) as running:
        url = upload(running, content)
        with requests.get(url, stream=True, timeout=30) as answer:
            got = answer.raw.read(1000)
            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            got += answer.raw.read()
    assert got == content


@pytest.mark.slow
def test_stopping_takes_15_seconds_at_most(tmp_path):
    """A transfer that does not end is cut off: the service stops within 15 seconds."""
    root = tmp_path / "store"
    root.mkdir()
    with serving(root) as running:
        url = upload(running, os.urandom(30_000_000))
        with requests.get(url, stream=True, timeout=30) as answer:
            answer.raw.read(1000)
            began = time.monotonic()
            running.process.send_signal(signal.SIGTERM)
            running.process.wait(20)
            took = time.monotonic() - began
    assert 5 < took < 15


@pytest.mark.slow
def test_memory_is_flat(tmp_path):
    """Large files take no more memory than small ones, going in or out."""
    root = tmp_path / "store"
    root.mkdir()
    source = tmp_path / "in"
    with serving(root) as running:
        store = HttpStore(running.url, TOKEN)
        for _ in range(10):
            upload(running, b"small")
        before = _peak(running.process.pid)
        with source.open("wb") as file:
            for _ in range(200):
                file.write(os.urandom(1 << 20))
        digest = store.add(source)
        store.fetch(digest, tmp_path / "out")
        after = _peak(running.process.pid)
    assert after - before < 30 << 20


def _peak(master: int) -> int:
    """The most memory, in bytes, that a worker ever had."""
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return max(most_memory(pid) for pid in children)


def test_sendfile_is_used():
    """Large files are sent by the kernel; gunicorn takes any mention of it for a no."""
    config = Config()
    for_each = [name for name in vars(web.serving) if name in config.settings]
    _ = [config.set(name, getattr(web.serving, name)) for name in for_each]
    assert (config.sendfile, config.worker_class_str) == (True, "web.serving.Worker")


@pytest.mark.parametrize("path", ["/_/metrics", "/_/openapi.json"])
def test_head_of_what_is_made(client, path):
    """What can be got can be asked for its headers alone."""
    got = client.simulate_head(path)
    assert (got.status_code, got.content) == (200, b"")
    assert got.headers["Content-Type"] == client.simulate_get(path).headers["Content-Type"]
