"""The store's client over a real file service: uploads, tokens, a restart, a whole build."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from cbngtrain.errors import BlobNotFound, StoreError
from cbngtrain.http_client import TRIES, Patience
from cbngtrain.http_store import HttpStore
from cbngtrain.step import Artifact, Digest, Record, fingerprint_of
from cbngtrain.store import DirectoryStore
from tests.conftest import Site, wait_until
from tests.http_store.conftest import answer
from tests.web.conftest import TOKEN, digest_of, kill_group, serving, serving_anew


@pytest.fixture(scope="module")
def gunicorn(tmp_path_factory):
    """A file service."""
    with serving_anew(tmp_path_factory) as running:
        yield running


@pytest.mark.slow
def test_restart_in_the_middle(tmp_path, unused_port):
    """Transfers survive that the service is killed and started again."""
    root = tmp_path / "store"
    root.mkdir()
    source = tmp_path / "in"
    source.write_bytes(os.urandom(4 << 20))
    hasty = partial(Patience, sleep=lambda seconds: time.sleep(seconds / 5), tries=2 * TRIES)
    store = HttpStore(f"http://127.0.0.1:{unused_port}", TOKEN, hasty)
    done: list[bool] = []

    def work():
        for _ in range(30):
            digest = store.add(source)
            store.fetch(digest, tmp_path / "out")
            done.append(digest == digest_of((tmp_path / "out").read_bytes()))
            DirectoryStore(root).path(digest).unlink()

    worker = threading.Thread(target=work)
    with serving(root, port=unused_port) as running:
        worker.start()
        wait_until(lambda: len(done) > 2)
        kill_group(running.process.pid)
    with serving(root, port=unused_port):
        worker.join(60)
    assert done == [True] * 30


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _record_of_lost(store, gunicorn, path):
    """The record of a file whose blob the service took, and lost."""
    path.write_bytes(b"lost")
    digest = store.add(path)
    DirectoryStore(gunicorn.root).path(digest).unlink()
    parts = {"test": str(path)}
    return Record(fingerprint_of(parts), (Artifact("a", digest, digest, 4),), None, parts)


def test_lost_blob_is_sent_again(gunicorn, patience, tmp_path):
    """A blob that the service lost between add and keep is uploaded again."""
    store = HttpStore(gunicorn.url, TOKEN, patience)
    record = _record_of_lost(store, gunicorn, tmp_path / "in")
    assert store.keep(record) == record


def test_changed_file_is_not_sent_again(gunicorn, patience, tmp_path):
    """A file that is not what it was does not stand in for the blob."""
    store = HttpStore(gunicorn.url, TOKEN, patience)
    record = _record_of_lost(store, gunicorn, tmp_path / "in")
    (tmp_path / "in").write_bytes(b"another")
    with pytest.raises(BlobNotFound):
        store.keep(record)


def test_large_upload(gunicorn, tmp_path):
    """A large file is streamed, once: the second time it is only asked whether it is there."""
    path = tmp_path / "in"
    path.write_bytes(os.urandom(3 << 20))
    store = HttpStore(gunicorn.url, TOKEN)
    digest = store.add(path)
    store.add(path)
    puts = [line for line in gunicorn.log.read_text().splitlines() if f"PUT /cas/{digest}" in line]
    assert len(puts) == 1


@contextmanager
def home(path: Path, netrc: str, monkeypatch) -> Iterator[None]:
    """A home directory with a .netrc."""
    (path / ".netrc").write_text(netrc)
    monkeypatch.setenv("HOME", str(path))
    yield


@pytest.mark.parametrize(("tokens", "sent"), [("a,b", "Bearer a"), (" a ", "Bearer a"), ("", None)])
def test_token(wire, tokens, sent, tmp_path, monkeypatch):
    """The first of several tokens is sent, and nothing from a .netrc in its place."""
    served = wire(answer("200 OK", b"[]"))
    with home(tmp_path, "default login me password secret", monkeypatch):
        HttpStore(served.url, tokens).missing([Digest("0" * 64)])
    lines = served.asked[0].decode().split("\r\n")
    authorization = [line for line in lines if line.startswith("Authorization")]
    assert authorization == ([f"Authorization: {sent}"] if sent else [])


def test_no_token_in_messages(gunicorn, tmp_path):
    """A refusal tells what was asked, and not with which token."""
    (tmp_path / "in").write_bytes(b"refused")
    with pytest.raises(StoreError, match="401 A token is needed") as caught:
        HttpStore(gunicorn.url, "tok-secret").add(tmp_path / "in")
    assert "tok-secret" not in str(caught.value) + gunicorn.log.read_text()


@pytest.mark.slow
def test_build_through_the_service(site: Site, tmp_path):
    """A build goes through the service; another coordinator, with nothing, finds all built."""
    root = tmp_path / "served"
    root.mkdir()
    with serving(root) as running:
        env = {"CBNG_STORE_URL": running.url, "FILE_API_KEY": TOKEN}
        first = site.run(env=env)
        site.forget_calls()
        second = site.run(cwd=site.add_checkout("second"), env=env)
        wait_until(lambda: running.log.read_text().count(" PUT /_/builds/") == 2)  # their last
        before = running.log.read_text().count("\n")
        third = site.run(env=env)
        asked = running.log.read_text().splitlines()[before:]
        got = site.run("cbng-trainer", "get", "alpha/main_ann.fann", "-o", "net", env=env)
    assert (first.status, second.status, third.status, got.status) == (0, 0, 0, 0), first
    assert site.calls == []
    assert "built" not in second.out
    assert third.lines[0].startswith("Nothing to do")
    assert len(asked) <= 8, asked  # a record a source, what is missing, the instances, the summary
    assert not (site.base / "store").exists()
    assert (site.path / "net").stat().st_size > 0
