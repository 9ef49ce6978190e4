"""Records, heads, builds, and the question what is missing."""

import json

import pytest

from cbngtrain.step import Artifact, Digest, Record, fingerprint_of
from tests.web.conftest import TIME, WRITER, digest_of

NOWHERE = Digest("0" * 64)


def record_of(*digests, command="train"):
    """A record that names these blobs."""
    parts = {"command": command}
    artifacts = tuple(Artifact(f"a{i}", each, each, 3) for i, each in enumerate(digests))
    return Record(fingerprint_of(parts), artifacts, None, parts)


def put_record(client, record, headers=WRITER):
    """Send a record under its fingerprint."""
    return client.simulate_put(f"/ac/{record.fingerprint}", json=record.to_json(), headers=headers)


def test_kept_and_found(client, put):
    """A record whose blobs are here is kept: 201, and found as it was."""
    record = record_of(put(b"one"))
    assert put_record(client, record).status_code == 201
    got = client.simulate_get(f"/ac/{record.fingerprint}")
    assert Record.from_json(got.json, "") == record
    assert got.headers["Cache-Control"] == "no-cache"


def test_not_modified(client, put):
    """Who has the record already is sent nothing."""
    record = record_of(put(b"one"))
    put_record(client, record)
    tag = client.simulate_head(f"/ac/{record.fingerprint}").headers["ETag"]
    tags = (tag, f'"other", W/{tag}', "*")
    got = [
        client.simulate_get(f"/ac/{record.fingerprint}", headers={"If-None-Match": each})
        for each in tags
    ]
    assert [each.status_code for each in got] == [304] * 3


def test_part_of_a_record(client, put):
    """A record is had in parts too, and only from who knows the rest."""
    record = record_of(put(b"one"))
    put_record(client, record)
    path = f"/ac/{record.fingerprint}"
    whole = client.simulate_get(path)
    asked = {"Range": "bytes=1-9", "If-Range": whole.headers["ETag"]}
    part = client.simulate_get(path, headers=asked)
    other = client.simulate_get(path, headers=asked | {"If-Range": '"other"'})
    outside = client.simulate_get(path, headers={"Range": "bytes=99999-"})
    assert (part.status_code, part.content) == (206, whole.content[1:10])
    assert (other.status_code, outside.status_code) == (200, 416)


def test_first_record_stands(client, put):
    """Of two records with one fingerprint the first stands; the second gets it as the answer."""
    first, second = record_of(put(b"one")), record_of(put(b"two"))
    put_record(client, first)
    got = put_record(client, second)
    assert (got.status_code, Record.from_json(got.json, "")) == (200, first)


def test_missing_blobs(client, put):
    """A record whose blobs are not here is refused, with a list of those."""
    got = put_record(client, record_of(put(b"one"), NOWHERE))
    assert (got.status_code, got.json["missing"]) == (422, [NOWHERE])


def test_blob_lost(client, store, put):
    """A record counts only while every blob that it names is here."""
    digest = put(b"one")
    record = record_of(digest)
    put_record(client, record)
    store.path(digest).unlink()
    assert client.simulate_get(f"/ac/{record.fingerprint}").status_code == 404


def test_other_fingerprint(client, put):
    """A record is taken under its own fingerprint only."""
    record = record_of(put(b"one"))
    got = client.simulate_put(f"/ac/{NOWHERE}", json=record.to_json(), headers=WRITER)
    assert got.status_code == 422


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"fingerprint": 1}', b"\xff", b"[" * 100_000,
     b'{"fingerprint": "\\ud800"}'],
    ids=["empty", "cut", "list", "null", "lacking", "no UTF-8", "deep", "surrogate"],
)  # fmt: skip
def test_malformed(client, body):
    """What is no record is refused as malformed."""
    headers = {**WRITER, "Content-Length": str(len(body))}
    got = client.simulate_put(f"/ac/{NOWHERE}", body=body, headers=headers)
    assert got.status_code == 400


def test_forgotten(client, put):
    """A record that was disowned is not found, and disowning it again does no harm."""
    record = record_of(put(b"one"))
    put_record(client, record)
    path = f"/ac/{record.fingerprint}"
    statuses = [client.simulate_delete(path, headers=WRITER).status_code for _ in range(2)]
    assert (statuses, client.simulate_get(path).status_code) == ([204, 204], 404)


def test_missing(client, put):
    """One question tells of many digests which are not here; nobody needs a token for it."""
    asked = [put(b"one"), NOWHERE, put(b"two"), NOWHERE]
    got = client.simulate_post("/_/missing", json=asked)
    assert (got.status_code, got.json) == (200, [NOWHERE])


@pytest.mark.parametrize("asked", [{}, "text", [1], ["../../etc/passwd"], [None], 5])
def test_missing_malformed(client, asked):
    """What is no list of digests is refused."""
    assert client.simulate_post("/_/missing", json=asked).status_code == 400


@pytest.mark.parametrize("path", ["/_/heads/a-set", "/_/builds/2025-08-01T18.36.31-host"])
def test_heads_and_builds(client, path):
    """What a complete build used, and what a build did, is kept and can be read by all."""
    assert client.simulate_get(path).status_code == 404
    assert client.simulate_put(path, json={"a": 1}, headers=WRITER).status_code == 204
    assert client.simulate_put(path, json={"a": 2}, headers=WRITER).status_code == 204
    assert client.simulate_get(path).json == {"a": 2}
    assert client.simulate_put(path, json=[], headers=WRITER).status_code == 400


@pytest.mark.parametrize("name", ["..", ".x", "a/b", "a%2fb", "x" * 200, "a b", "a\x00", "ä"])
@pytest.mark.parametrize("kind", ["heads", "builds"])
def test_names_of_heads(client, store, kind, name):
    """A head's name is letters, digits, dots and dashes; nothing else is written anywhere."""
    got = client.simulate_put(f"/_/{kind}/{name}", json={}, headers=WRITER)
    assert got.status_code in {400, 404}
    assert not (store.root / kind).exists()


def test_json_is_bounded(client):
    """A record is not read without end."""
    headers = {**WRITER, "Content-Length": str(1 << 40)}
    assert client.simulate_put(f"/ac/{NOWHERE}", body=b"{", headers=headers).status_code == 413


def test_unknown_digest_length(client):
    """A key that is no digest is nothing here, whatever follows it."""
    for_each = [f"/cas/{'a' * 63}", f"/cas/{'A' * 64}", f"/cas/{'a' * 64}%0a", f"/ac/{'g' * 64}"]
    assert {client.simulate_get(path).status_code for path in for_each} == {404}
    assert json.loads(client.simulate_get(for_each[0]).text)["status"] == 404


def test_digest_of_nothing(client, put):
    """The empty blob is a blob."""
    assert client.simulate_get(f"/cas/{put(b'')}").status_code == 200
    assert digest_of(b"").startswith("e3b0c442")


@pytest.mark.parametrize(
    "value", [r'"\ud800"', "NaN", "-Infinity", "1e999", "9" * 400], ids=lambda text: text[:9]
)
@pytest.mark.parametrize("path", ["/_/builds/b", "/_/heads/h", f"/A/{TIME}", "/A/production"])
def test_json_that_cannot_be_shown(client, path, value):
    """What no page and no JSON could hold is refused, and the pages stay as they were."""
    body = f'{{"files": {{}}, "about": {{}}, "instance": "{TIME}", "seconds": {value}}}'
    got = client.simulate_put(path, body=body.encode(), headers=WRITER)
    assert got.status_code == 400
    for accept in ("text/html", "application/json"):
        assert client.simulate_get("/", headers={"Accept": accept}).status_code == 200
