"""Uploads: whole or not at all, within limits, from who may write."""

import io
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import falcon
import pytest
import requests
from falcon import testing

from cbngtrain.store import DirectoryStore
from tests.web.conftest import TIME, TOKEN, WRITER, digest_of
from web.app import create_app
from web.auth import Tokens
from web.service import Service
from web.tree import Tree

CONTENT = b"some bytes" * 200
DIGEST = digest_of(CONTENT)
BLOB = f"/cas/{DIGEST}"
SCRIPTS_FILE = f"/A set/{TIME}/artifacts/x"


def files_below(root):
    """The names of all files below a directory, temporary ones too."""
    return sorted(name for _, _, names in os.walk(root) for name in names)


def test_stored(client, store):
    """A blob is stored once: 201, and from then on 200."""
    statuses = [
        client.simulate_put(BLOB, body=CONTENT, headers=WRITER).status_code for _ in range(2)
    ]
    assert statuses == [201, 200]
    assert store.path(DIGEST).read_bytes() == CONTENT
    assert files_below(store.root) == [DIGEST]


def test_other_digest(client, store):
    """Bytes of another digest are refused, and nothing is left of them."""
    got = client.simulate_put(BLOB, body=b"others", headers=WRITER)
    assert (got.status_code, files_below(store.root)) == (422, [])


def test_rotten_blob_is_replaced(client, store):
    """A blob that has rotted is replaced by who uploads it whole."""
    client.simulate_put(BLOB, body=CONTENT, headers=WRITER)
    store.path(DIGEST).chmod(0o644)
    store.path(DIGEST).write_bytes(b"rotten")
    client.simulate_put(BLOB, body=CONTENT, headers=WRITER)
    assert store.path(DIGEST).read_bytes() == CONTENT


def test_short_body(client, store):
    """A body shorter than its length is refused, and nothing is left of it."""
    headers = {**WRITER, "Content-Length": str(len(CONTENT) + 1)}
    got = client.simulate_put(BLOB, body=CONTENT, headers=headers)
    assert (got.status_code, files_below(store.root)) == (400, [])


def test_no_length(client):
    """A body that tells neither length nor chunks is refused."""
    assert client.simulate_put(BLOB, headers=WRITER).status_code == 411


def test_too_large(client, store):
    """More bytes than are allowed are refused by what the headers say."""
    headers = {**WRITER, "Content-Length": str((1 << 20) + 1)}
    got = client.simulate_put(BLOB, body=b"x", headers=headers)
    assert (got.status_code, files_below(store.root)) == (413, [])


def test_too_large_chunked(client, store):
    """Chunked, more bytes than are allowed are refused when they have come."""
    body = b"x" * ((1 << 20) + 1)
    extras = {"wsgi.input": io.BytesIO(body), "HTTP_TRANSFER_ENCODING": "chunked"}
    got = client.simulate_put(f"/cas/{digest_of(body)}", headers=WRITER, extras=extras)
    assert (got.status_code, files_below(store.root)) == (413, [])


def test_disk_is_kept_free(store):
    """What would leave less of the disk free than is kept is refused."""
    service = Service(store, Tree(store), Tokens([TOKEN]), largest=1 << 20, keep_free=1 << 60)
    got = testing.TestClient(create_app(service)).simulate_put(BLOB, body=CONTENT, headers=WRITER)
    assert (got.status_code, files_below(store.root)) == (507, [])


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (("Content-Encoding", "gzip"), 415),
        (("Transfer-Encoding", "gzip, chunked"), 501),
        (("Content-Range", "bytes 500-2499/2500"), 400),
    ],
)
@pytest.mark.parametrize("path", [BLOB, f"/ac/{DIGEST}", "/_/builds/one", SCRIPTS_FILE])
def test_coded(client, store, path, header, status):
    """A body that is not the bytes themselves, or not all, is refused: it would be stored so."""
    name, value = header
    got = client.simulate_put(path, body=CONTENT, headers={**WRITER, name: value})
    assert (got.status_code, files_below(store.root)) == (status, [])


def test_full_disk_under_a_name(store, monkeypatch):
    """A disk that has no room for a name is told as such, too."""
    service = Service(store, Tree(store), Tokens([TOKEN]), largest=1 << 20, keep_free=0)
    monkeypatch.setattr(Path, "symlink_to", _no_space)
    client = testing.TestClient(create_app(service))
    assert client.simulate_put(SCRIPTS_FILE, body=CONTENT, headers=WRITER).status_code == 507
    assert client.simulate_get(SCRIPTS_FILE).status_code == 404


def test_name_that_no_file_system_takes(tmp_path):
    """A path of allowed parts can be too long as a whole: 422, and nothing is left."""
    store = DirectoryStore(tmp_path.joinpath(*["d" * 200] * 4))
    service = Service(store, Tree(store), Tokens([TOKEN]), largest=1 << 20, keep_free=0)
    client = testing.TestClient(create_app(service))
    at, path = f"/A set/{TIME}", "/".join(["x" * 200] * 17)
    assert client.simulate_put(BLOB, body=CONTENT, headers=WRITER).status_code == 201
    got = client.simulate_put(at, json={"files": {path: DIGEST}}, headers=WRITER)
    assert got.status_code == 422
    assert client.simulate_put(f"{at}/{path}", body=CONTENT, headers=WRITER).status_code == 422
    assert client.simulate_get(f"{at}/").status_code == 404


def test_full_disk(store, monkeypatch):
    """A disk that fills up under an upload is told as such."""
    monkeypatch.setattr(os, "fsync", _no_space)
    service = Service(store, Tree(store), Tokens([TOKEN]), largest=1 << 20, keep_free=0)
    got = testing.TestClient(create_app(service)).simulate_put(BLOB, body=CONTENT, headers=WRITER)
    assert (got.status_code, files_below(store.root)) == (507, [])


def _no_space(*_anything):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "authorization",
    [None, "Bearer other", "Bearer ", "Bearer", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", BLOB),
        ("DELETE", BLOB),
        ("PUT", f"/ac/{DIGEST}"),
        ("DELETE", f"/ac/{DIGEST}"),
        ("PUT", "/_/heads/a-set"),
        ("PUT", "/_/builds/one"),
        ("PUT", f"/A set/{TIME}"),
        ("PUT", f"/A set/{TIME}/a.txt"),
        ("POST", f"/A set/{TIME}/a.txt"),
        ("PUT", "/A set/production"),
    ],
)
def test_token_is_needed(client, store, method, path, authorization):
    """Without the right token nothing is written, by no request."""
    headers = {"Authorization": authorization} if authorization is not None else {}
    got = client.simulate_request(method, path, body=CONTENT, headers=headers)
    assert (got.status_code, got.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert files_below(store.root) == []


@pytest.mark.parametrize("token", [TOKEN, "older", f" {TOKEN} "])
def test_several_tokens(client, token):
    """Each of several tokens may write, so that they can be changed one after another."""
    headers = {"Authorization": f"Bearer {token}"}
    assert client.simulate_put(BLOB, body=CONTENT, headers=headers).status_code == 201


@pytest.mark.parametrize("setting", ["", " ", ",", " , "])
def test_no_tokens(store, setting, caplog):
    """Where no token is set nobody may write, not even with an empty one, and the log says so."""
    service = Service(store, Tree(store), Tokens.of(setting), largest=1 << 20, keep_free=0)
    client = testing.TestClient(create_app(service))
    got = client.simulate_put(BLOB, body=CONTENT, headers={"Authorization": "Bearer "})
    assert got.status_code == 403
    assert "nobody may write" in caplog.text


def test_rotten_blob_is_taken_out(client, store, put):
    """Whoever saw wrong bytes can have the blob looked at; only one that has rotted is removed."""
    digest = put(CONTENT)
    assert client.simulate_delete(f"/cas/{digest}", headers=WRITER).status_code == 409
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(b"rotten")
    assert client.simulate_delete(f"/cas/{digest}", headers=WRITER).status_code == 204
    assert client.simulate_delete(f"/cas/{digest}", headers=WRITER).status_code == 404


# Over a socket, with the real server -------------------------------------------------------------


def _request(head: str, body: bytes, path: str = BLOB) -> bytes:
    lines = [f"PUT {path} HTTP/1.1", "Host: store", f"Authorization: Bearer {TOKEN}", head]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def _chunked(content: bytes, size: int = 999) -> bytes:
    pieces = [content[i : i + size] for i in range(0, len(content), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


def test_chunked(gunicorn):
    """A chunked body is stored whole."""
    content = os.urandom(100_000)
    path = f"/cas/{digest_of(content)}"
    body = _chunked(content) + b"0\r\n\r\n"
    answer = gunicorn.send(_request("Transfer-Encoding: chunked", body, path))
    assert answer.startswith(b"HTTP/1.1 201")
    assert requests.get(gunicorn.url + path, timeout=10).content == content


def test_one_after_another(gunicorn):
    """Uploads that follow each other without a pause each get their own bytes, to the last."""
    contents = [b"", b"one", os.urandom(3_000_000), os.urandom(1 << 20), b"two"]
    heads = [
        _request(f"Content-Length: {len(each)}", b"", f"/cas/{digest_of(each)}")
        for each in contents
    ]
    sent = zip((head.replace(b"close", b"keep-alive") for head in heads), contents, strict=True)
    answers = gunicorn.send(b"".join(map(b"".join, sent)))
    urls = [f"{gunicorn.url}/cas/{digest_of(each)}" for each in contents]
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"201"] * len(contents)
    assert [requests.get(url, timeout=10).content for url in urls] == contents


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        ("Transfer-Encoding: chunked", _chunked(CONTENT), b"400"),
        ("Transfer-Encoding: chunked", _chunked(CONTENT)[:-900], b"400"),
        ("Transfer-Encoding: chunked", b"zz\r\nnot a number", b"400"),
        ("Content-Length: 2000", CONTENT[:-1], b"400"),
        ("X-Nothing: 1", b"", b"411"),
        ("Content-Length: 2000\r\nTransfer-Encoding: chunked", _chunked(CONTENT), b"400"),
        ("Content-Length: 2000\r\nContent-Length: 5", CONTENT, b"400"),
        ("Transfer-Encoding: chunked, chunked", _chunked(CONTENT), b"400"),
        ("Transfer-Encoding: identity", CONTENT, b"400"),
        ("Transfer-Encoding : chunked", _chunked(CONTENT), b"400"),
        ("Content-Length: +5", CONTENT, b"400"),
        ("Content-Length: -5", CONTENT, b"400"),
        ("Content-Length: 99999999999999", CONTENT, b"413"),
    ],
    ids=[
        "chunks without end", "chunk cut off", "no chunk", "short", "neither",
        "both lengths", "two lengths", "chunked twice", "identity", "space before colon",
        "plus", "minus", "too large",
    ],
)  # fmt: skip
def test_broken_and_smuggled(gunicorn, head, body, status):
    """What is cut off, or could be read in two ways, is refused, and nothing is left of it."""
    answer = gunicorn.send(_request(head, body))
    assert answer.split(b" ")[1] == status
    assert answer.count(b"HTTP/1.1 ") == 1
    assert requests.head(gunicorn.url + BLOB, timeout=10).status_code == 404
    assert list((gunicorn.root / "cas").glob(".*")) == []


def test_forty_at_once(gunicorn):
    """Forty clients that upload the same blob at once leave one."""
    content = os.urandom(300_000)
    url = f"{gunicorn.url}/cas/{digest_of(content)}"
    with ThreadPoolExecutor(40) as pool:
        answers = list(
            pool.map(lambda _: requests.put(url, content, headers=WRITER, timeout=30), range(40))
        )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 39 + [201]
    assert requests.get(url, timeout=10).content == content
    assert list((gunicorn.root / "cas").glob(".*")) == []


def test_reader_during_an_upload(gunicorn):
    """Nothing is seen of an upload before it is whole."""
    content = os.urandom(500_000)
    url = f"{gunicorn.url}/cas/{digest_of(content)}"
    seen = []

    def halting():
        yield content[:250_000]
        seen.append(requests.get(url, timeout=10).status_code)
        yield content[250_000:]

    requests.put(url, halting(), headers=WRITER, timeout=30)
    seen.append(requests.get(url, timeout=10).status_code)
    assert seen == [404, 200]


def test_refused_upload_is_answered(gunicorn):
    """Who sends many bytes without the right token reads why they are not taken."""
    content = b"x" * 3_000_000
    url = f"{gunicorn.url}/cas/{digest_of(content)}"
    got = requests.put(url, content, headers={"Authorization": "Bearer other"}, timeout=30)
    assert got.status_code == 401


def test_upload_reader_is_bounded(tmp_path):
    """The reader of a body returns no more than it is asked for, and nothing after the end."""
    env = testing.create_environ(body=b"12345", method="PUT")
    upload = Service(
        store := DirectoryStore(tmp_path), Tree(store), Tokens(["t"]), largest=9, keep_free=0
    )
    env["HTTP_AUTHORIZATION"] = "Bearer t"
    body = upload.upload(falcon.Request(env))
    assert [body.read(3), body.read(3), body.read(3)] == [b"123", b"45", b""]
