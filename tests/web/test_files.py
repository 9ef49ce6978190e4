"""Blobs as files: validators, ranges, headers."""

import base64

import pytest

from tests.web.conftest import TIME, WRITER, digest_of

CONTENT = bytes(range(256))
DIGEST = digest_of(CONTENT)
ETAG = f'"{DIGEST}"'


@pytest.fixture
def blob(put):
    """The path of a blob of 256 bytes."""
    return f"/cas/{put(CONTENT)}"


def test_headers(client, blob):
    """A blob comes with its digest as strong ETag and Repr-Digest, and may be kept for ever."""
    got = client.simulate_get(blob)
    assert got.content == CONTENT
    assert got.headers["ETag"] == ETAG
    raw = base64.b64encode(bytes.fromhex(DIGEST)).decode()
    assert got.headers["Repr-Digest"] == f"sha-256=:{raw}:"
    assert "immutable" in got.headers["Cache-Control"]
    assert got.headers["Accept-Ranges"] == "bytes"
    assert got.headers["Last-Modified"].endswith("GMT")
    assert got.headers["X-Content-Type-Options"] == "nosniff"


def test_head(client, blob):
    """HEAD has the headers of GET and no body."""
    got = client.simulate_head(blob)
    assert (got.headers["Content-Length"], got.headers["ETag"], got.content) == ("256", ETAG, b"")


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        (ETAG, 304),
        (f'"other", {ETAG}', 304),
        (f"W/{ETAG}", 304),
        ("*", 304),
        ('"other"', 200),
        (DIGEST, 200),
    ],
)
def test_if_none_match(client, blob, tags, status):
    """Who has these bytes already is told so, and sent nothing."""
    got = client.simulate_get(blob, headers={"If-None-Match": tags})
    assert (got.status_code, got.headers["ETag"]) == (status, ETAG)
    assert got.content == (CONTENT if status == 200 else b"")


def test_policy_of_what_is_known(client, blob):
    """304 comes with the file's own policy: a cache takes it in place of the one that it kept."""
    whole, known = (
        client.simulate_get(blob, headers=headers) for headers in ({}, {"If-None-Match": ETAG})
    )
    header = "Content-Security-Policy"
    assert (known.status_code, known.headers[header]) == (304, whole.headers[header])


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("If-Match", ETAG, 200),
        ("If-Match", f'W/"other", {ETAG}', 200),
        ("If-Match", "*", 200),
        ("If-Match", '"other"', 412),
        ("If-Match", f"W/{ETAG}", 412),
        ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT", 412),
        ("If-Unmodified-Since", "{date}", 200),
        ("If-Unmodified-Since", "today", 200),
    ],
)
def test_preconditions(client, blob, header, value, status):
    """Who wants these bytes only if they are still the same is not sent others."""
    date = client.simulate_head(blob).headers["Last-Modified"]
    got = client.simulate_get(blob, headers={header: value.format(date=date)})
    assert got.status_code == status


@pytest.mark.parametrize(
    ("since", "status"), [("{same}", 304), ("Thu, 01 Jan 1970 00:00:00 GMT", 200), ("today", 200)]
)
def test_if_modified_since(client, blob, since, status):
    """A date answers as well, where one was kept; one that is none is passed over."""
    date = since.format(same=client.simulate_head(blob).headers["Last-Modified"])
    assert client.simulate_get(blob, headers={"If-Modified-Since": date}).status_code == status


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=250-", 250, 255),
        ("bytes=250-9999", 250, 255),
        ("bytes=-6", 250, 255),
        ("bytes=-9999", 0, 255),
        ("Bytes=0-0", 0, 0),
        (f"bytes=1-{'9' * 40}", 1, 255),
        (f"bytes=-{'9' * 40}", 0, 255),
        ("bytes=0-", 0, 255),
    ],
)
def test_range(client, blob, asked, start, end):
    """A range is answered with its bytes and where they are."""
    got = client.simulate_get(blob, headers={"Range": asked})
    assert got.status_code == 206
    assert got.content == CONTENT[start : end + 1]
    assert got.headers["Content-Range"] == f"bytes {start}-{end}/256"
    assert got.headers["Content-Length"] == str(end - start + 1)


@pytest.mark.parametrize("asked", ["bytes=256-", "bytes=300-400", "bytes=-0", f"bytes={'9' * 40}-"])
def test_range_outside(client, blob, asked):
    """A range outside of the file is refused, with the file's size."""
    got = client.simulate_get(blob, headers={"Range": asked})
    assert (got.status_code, got.headers["Content-Range"]) == (416, "bytes */256")
    assert {"ETag", "Repr-Digest", "Last-Modified"}.isdisjoint(got.headers)  # of the problem's text


@pytest.mark.parametrize("asked", ["bytes=0-9", "bytes=999-"])
def test_head_has_no_ranges(client, blob, asked):
    """Ranges are defined for GET alone: HEAD tells of the whole."""
    got = client.simulate_head(blob, headers={"Range": asked})
    assert (got.status_code, got.headers["Content-Length"]) == (200, "256")


@pytest.mark.parametrize(
    "asked", ["bytes=5-2", "bytes=-", "lines=1-2", "bytes=0-1,5-6", "bytes=a-b", "bytes=٣-٤"]
)
def test_range_of_another_kind(client, blob, asked):
    """What is no single range of bytes is answered with the whole."""
    got = client.simulate_get(blob, headers={"Range": asked.encode().decode("latin-1")})
    assert (got.status_code, got.content) == (200, CONTENT)


@pytest.mark.parametrize(
    ("validator", "status"),
    [(ETAG, 206), ('"other"', 200), (f"W/{ETAG}", 200), ("{date}", 206), ("yesterday", 200)],
)
def test_if_range(client, blob, validator, status):
    """A range is answered only to who knows the rest: If-Range compares strongly."""
    date = client.simulate_head(blob).headers["Last-Modified"]
    headers = {"Range": "bytes=1-2", "If-Range": validator.format(date=date)}
    assert client.simulate_get(blob, headers=headers).status_code == status


def test_empty_file(client, put):
    """A file without bytes is sent as such, and no range is in it."""
    blob = f"/cas/{put(b'')}"
    assert client.simulate_get(blob).content == b""
    assert client.simulate_get(blob, headers={"Range": "bytes=0-"}).status_code == 416


def test_no_blob(client):
    """What is not here is 404."""
    assert client.simulate_get(f"/cas/{digest_of(b'nothing')}").status_code == 404


@pytest.mark.parametrize(
    ("name", "kind", "shown"),
    [
        ("a.txt", "text/plain; charset=utf-8", "inline"),
        ("ann.log", "text/plain; charset=utf-8", "inline"),
        ("comparison.md", "text/markdown; charset=utf-8", "inline"),
        ("metrics.json", "application/json", "inline"),
        ("main_ann_train.dat", "text/plain; charset=utf-8", "inline"),
        ("roc.svg", "image/svg+xml", "inline"),
        ("main_ann.fann", "application/octet-stream", "attachment"),
        ("debug.xml", "application/xml", "inline"),
        ("thresholds.png", "image/png", "inline"),
        ("bayes.db", "application/octet-stream", "attachment"),
        ("page.html", "application/octet-stream", "attachment"),
    ],
)
def test_content_type(client, name, kind, shown):
    """A file's type goes by its name; what a browser could run is only saved."""
    path = f"/A set/{TIME}/{name}"
    client.simulate_put(path, body=b'"text"', headers=WRITER)
    got = client.simulate_get(path)
    assert got.headers["Content-Type"] == kind
    assert got.headers["Content-Disposition"].startswith(shown)
    assert "sandbox" in got.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ['a"; filename="b.exe.txt', "ü ß.txt", "a;b.txt", "a\\b.txt"])
def test_content_disposition(client, name):
    """No name can end the header that it stands in; each is given whole, encoded."""
    path = f"/A set/{TIME}/{name}"
    assert client.simulate_put(path, body=b"text", headers=WRITER).status_code == 201
    header = client.simulate_get(path).headers["Content-Disposition"]
    assert header.count('"') == 2
    assert "filename*=UTF-8''" in header
    assert header.isascii()


def test_named_blob(client, blob):
    """A blob can be asked for under a name, which decides its type; it is never a path."""
    got = client.simulate_get(blob, params={"name": "../../ann.log"})
    assert got.headers["Content-Type"].startswith("text/plain")
    assert 'filename="ann.log"' in got.headers["Content-Disposition"]
