"""The store's client where the network is not kind: over a real file service, and stand-ins."""

import gzip
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from cbngtrain.errors import BlobNotFound, DigestMismatch, StoreError
from cbngtrain.http_client import PATIENCE, TRIES, Patience
from cbngtrain.http_store import HttpStore
from cbngtrain.step import Artifact, Digest, Record, fingerprint_of
from cbngtrain.store import DirectoryStore
from tests.conftest import Site, wait_until
from tests.web.conftest import TOKEN, digest_of, kill_group, serving


@pytest.fixture(scope="module")
def gunicorn(tmp_path_factory):
    """A file service."""
    root = tmp_path_factory.mktemp("http") / "store"
    root.mkdir()
    with serving(root) as running:
        yield running


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


# Trying again ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["503 Away", "502 Bad", "504 Late", "429 Slow", "408 Late"])
def test_overloaded_service_is_asked_again(wire, patience, slept, status):
    """A service that is away for a moment is asked again, with growing pauses."""
    served = wire(answer(status), answer(status), answer("200 OK", b"[]"))
    assert HttpStore(served.url, patience=patience).missing([DIGEST]) == set()
    assert (len(served.asked), slept) == (3, [0.5, 1.0])


def test_broken_connection_is_tried_again(wire, patience):
    """A connection that breaks without an answer is tried again."""
    served = wire(b"", b"HTTP/1.1 200 OK\r\nContent-Le", answer("200 OK", b"[]"))
    assert HttpStore(served.url, patience=patience).missing([DIGEST]) == set()


def test_retry_after_is_honoured(wire, patience, slept):
    """A service that says when to come back is not asked before."""
    served = wire(answer("503 Away", Retry_After="7"), answer("404 Nothing"))
    assert HttpStore(served.url, patience=patience).head("a-set") == {}
    assert slept == [7.0]


@pytest.mark.parametrize("after", ["Wed, 21 Oct 2015 07:28:00 GMT", "soon", "-5"])
def test_retry_after_nonsense(wire, patience, slept, after):
    """A date that is past, or nonsense, asks for nothing."""
    served = wire(answer("503 Away", Retry_After=after), answer("404 Nothing"))
    HttpStore(served.url, patience=patience).head("a-set")
    assert slept == [0.5]


def test_patience_is_bounded_in_count(wire, patience, slept):
    """A service that stays away is given up after so many tries, and what it said is told."""
    served = wire(answer("503 Away", b'{"title": "Tired", "detail": "of it all"}'))
    with pytest.raises(StoreError, match="503 Tired: of it all"):
        HttpStore(served.url, patience=patience).missing([DIGEST])
    assert (len(served.asked), sum(slept) < PATIENCE) == (TRIES, True)


def test_patience_is_bounded_in_time(wire, patience, slept):
    """A service that wants to be left alone for longer than we wait is given up at once."""
    served = wire(answer("503 Away", Retry_After="3600"))
    with pytest.raises(StoreError, match="503"):
        HttpStore(served.url, patience=patience).missing([DIGEST])
    assert (len(served.asked), slept) == (1, [])


def test_service_that_never_answered_is_waited_for_once(wire, patience, slept):
    """Where one request has waited in vain, those after it are told at once."""
    served = wire(answer("503 Away"))
    store = HttpStore(served.url, patience=patience)
    with pytest.raises(StoreError, match="503"):
        store.head("a-set")
    with pytest.raises(StoreError, match="503"):
        store.head("another")
    assert (len(served.asked), len(slept)) == (TRIES + 1, TRIES - 1)


def test_service_that_answered_is_waited_for_each_time(wire, patience, slept):
    """What a step has made is not given up as another request has waited in vain."""
    here, away = answer("404 Nothing"), answer("503 Away")
    served = wire(here, *[away] * TRIES, away, here)
    store = HttpStore(served.url, patience=patience)
    store.head("a-set")
    with pytest.raises(StoreError, match="503"):
        store.head("a-set")
    assert store.head("a-set") == {}
    assert len(slept) == TRIES


def test_absence_is_told_once(wire, patience, caplog):
    """That the service is waited for is told when it is, whatever the number of requests."""
    served = wire(answer("503 Away"))
    store = HttpStore(served.url, patience=patience)
    with pytest.raises(StoreError):
        store.head("a-set")
    with pytest.raises(StoreError):
        store.head("a-set")
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == [f"GET {served.url}/_/heads/a-set: 503 Away; the file service is waited for"]


@pytest.mark.parametrize(
    "status", ["400 Bad", "401 Who", "403 No", "413 Big", "500 Bug", "507 Full"]
)
def test_refusals_are_not_tried_again(wire, patience, slept, status):
    """What trying again cannot change is told at once."""
    served = wire(answer(status))
    with pytest.raises(StoreError, match=status.split()[0]):
        HttpStore(served.url, patience=patience).set_head("a-set", {})
    assert (len(served.asked), slept) == (1, [])


@pytest.mark.parametrize("status", ["401 Who", "403 No", "500 Bug"])
def test_refused_download_is_no_rotten_blob(wire, patience, tmp_path, status):
    """An answer that is an error is told as such; its body is not taken for the blob's bytes."""
    served = wire(answer(status, b"what went wrong"))
    with pytest.raises(StoreError, match=status.split()[0]) as caught:
        HttpStore(served.url, patience=patience).fetch(DIGEST, tmp_path / "blob")
    assert type(caught.value) is StoreError
    assert (len(served.asked), list(tmp_path.iterdir())) == (1, [])


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 There", "308 There"])
def test_redirects_are_not_followed(wire, patience, tmp_path, status):
    """No token and no body goes to where somebody else points; a page there proves no upload."""
    elsewhere = wire(answer("200 OK", b"Log in"))
    served = wire(answer(status, Location=f"{elsewhere.url}/login"))
    store = HttpStore(served.url, "sesame", patience=patience)
    (tmp_path / "blob").write_bytes(CONTENT)
    with pytest.raises(StoreError, match=f"it sends to {elsewhere.url}/login"):
        store.add(tmp_path / "blob")
    with pytest.raises(StoreError, match="it sends to"):
        store.fetch(DIGEST, tmp_path / "fetched")
    assert elsewhere.asked == []


def test_nobody_there(patience):
    """Where nobody listens the message names the URL, in one line."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(StoreError, match=f"{url}/_/missing: .*refused") as caught:
        HttpStore(url, patience=patience).missing([DIGEST])
    assert "\n" not in str(caught.value)


def test_another_service(wire, patience):
    """Something that answers, but is no file service, is found out."""
    served = wire(answer("200 OK", b"<html>It works!"))
    with pytest.raises(StoreError, match="is it the file service"):
        HttpStore(served.url, patience=patience).missing([DIGEST])


def test_jitter():
    """Clients that were refused together do not come back together: the pause is half by chance."""
    slept: list[float] = []
    for chance in (0.0, 0.5, 1.0):
        Patience(sleep=slept.append, jitter=partial(float, chance)).wait("away")
    assert slept == [0.25, 0.375, 0.5]


# Transfers ---------------------------------------------------------------------------------------


def cut(content: bytes, start: int, length: int) -> bytes:
    """An answer that promises all from *start* on and breaks off after *length* bytes."""
    status = "206 Partial Content" if start else "200 OK"
    whole = answer(status, content[start:], Content_Range=f"bytes {start}-/{len(content)}")
    return whole[: len(whole) - len(content) + start + length]


def test_download_goes_on(wire, patience, tmp_path):
    """A download that breaks off goes on where it was, and only with the same bytes."""
    served = wire(cut(CONTENT, 0, 1000), cut(CONTENT, 1000, 500), cut(CONTENT, 1500, 99999))
    HttpStore(served.url, patience=patience).fetch(DIGEST, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert [b"Range: bytes=1000-" in asked for asked in served.asked] == [False, True, False]
    assert b"Range: bytes=1500-" in served.asked[2]
    assert f'If-Range: "{DIGEST}"'.encode() in served.asked[2]


def test_progress_renews_the_tries(wire, patience, tmp_path):
    """A long download may break off more often than one request is tried, while it goes on."""
    times = 3 * TRIES
    pieces = [cut(CONTENT, 100 * i, 100) for i in range(times)]
    served = wire(*pieces, cut(CONTENT, 100 * times, 99999))
    HttpStore(served.url, patience=patience).fetch(DIGEST, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_download_goes_on_without_ranges(wire, patience, tmp_path):
    """Where all is sent again, what came already is passed over."""
    again = answer("200 OK", CONTENT)
    served = wire(cut(CONTENT, 0, 1000), again[: again.index(CONTENT) + 700], again)
    HttpStore(served.url, patience=patience).fetch(DIGEST, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_download_that_never_gets_further(wire, patience, tmp_path):
    """A download that always breaks off at the same byte is given up: that is no progress."""
    served = wire(cut(CONTENT, 0, 1000))
    with pytest.raises(StoreError, match="IncompleteRead"):
        HttpStore(served.url, patience=patience).fetch(DIGEST, tmp_path / "out")
    assert (len(served.asked), list(tmp_path.iterdir())) == (TRIES, [])


def test_download_in_chunks(wire, patience, tmp_path):
    """A proxy that takes the length away, and sends chunks, takes nothing from the bytes."""
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(CONTENT), CONTENT)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    served = wire(head + chunks[:5000], answer("206 Partial", CONTENT[len(chunks[:5000]) - 6 :]))
    HttpStore(served.url, patience=patience).fetch(DIGEST, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_coded_download(wire, patience, tmp_path):
    """A proxy that compresses what it was not asked to is named as what is wrong."""
    served = wire(answer("200 OK", gzip.compress(CONTENT), Content_Encoding="gzip"))
    with pytest.raises(StoreError, match="came as gzip") as caught:
        HttpStore(served.url, patience=patience).fetch(DIGEST, tmp_path / "out")
    assert (type(caught.value), list(tmp_path.iterdir())) == (StoreError, [])


def test_part_from_elsewhere(wire, patience, tmp_path):
    """An answer with another part than the one asked for does not pass for the blob."""
    elsewhere = answer("206 Partial", CONTENT[50:], Content_Range="bytes 50-/10240")
    served = wire(cut(CONTENT, 0, 1000), elsewhere, answer("200 OK", CONTENT))
    HttpStore(served.url, patience=patience).fetch(DIGEST, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "told"),
    [("204 Gone", "had rotted and was taken out"), ("409 Whole", "is whole there"),
     ("401 Who", "not taken out: .*401")],
)  # fmt: skip
def test_what_became_of_wrong_bytes(wire, patience, tmp_path, status, told):
    """Whether the blob had rotted, or its bytes change on the way, is told."""
    served = wire(answer("200 OK", b"x"), answer("200 OK", b"x"), answer(status))
    with pytest.raises(DigestMismatch, match=told):
        HttpStore(served.url, patience=patience).fetch(DIGEST, tmp_path / "out")


def test_broken_off_at_the_end(wire, patience, tmp_path):
    """A download of which all bytes came before it broke is whole."""
    served = wire(
        answer("200 OK", CONTENT, Content_Length=str(len(CONTENT) + 1)),
        answer("416 Outside", Content_Range=f"bytes */{len(CONTENT)}"),
    )
    HttpStore(served.url, patience=patience).fetch(DIGEST, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_wrong_bytes_once(wire, patience, tmp_path):
    """Bytes that were spoilt on the way are fetched again."""
    served = wire(answer("200 OK", b"spoilt"), answer("200 OK", CONTENT))
    HttpStore(served.url, patience=patience).fetch(DIGEST, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_wrong_bytes_twice(wire, patience, tmp_path):
    """Wrong bytes are never handed out; the service is asked to look at the blob."""
    served = wire(answer("200 OK", b"x"), answer("200 OK", b"x"), answer("401 Who"))
    with pytest.raises(DigestMismatch):
        HttpStore(served.url, patience=patience).fetch(DIGEST, tmp_path / "out")
    assert served.asked[2].startswith(b"DELETE /cas/")
    assert list(tmp_path.iterdir()) == []


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


def test_lost_blob_is_sent_again(gunicorn, patience, tmp_path):
    """A blob that the service lost between add and keep is uploaded again."""
    path = tmp_path / "in"
    path.write_bytes(b"lost and found")
    store = HttpStore(gunicorn.url, TOKEN, patience)
    digest = store.add(path)
    DirectoryStore(gunicorn.root).path(digest).unlink()
    parts = {"test": str(tmp_path)}
    record = Record(fingerprint_of(parts), (Artifact("a", digest, digest, 14),), None, parts)
    assert store.keep(record) == record


def test_changed_file_is_not_sent_again(gunicorn, patience, tmp_path):
    """A file that is not what it was does not stand in for the blob."""
    path = tmp_path / "in"
    path.write_bytes(b"lost for good")
    store = HttpStore(gunicorn.url, TOKEN, patience)
    digest = store.add(path)
    DirectoryStore(gunicorn.root).path(digest).unlink()
    path.write_bytes(b"another")
    parts = {"test": str(tmp_path)}
    record = Record(fingerprint_of(parts), (Artifact("a", digest, digest, 13),), None, parts)
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


# A build over it ---------------------------------------------------------------------------------


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
