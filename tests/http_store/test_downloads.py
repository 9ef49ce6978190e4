"""Downloads of the store's client: broken off, cut in pieces, coded, or of wrong bytes."""

import gzip

import pytest

from cbngtrain.errors import DigestMismatch, StoreError
from cbngtrain.http_client import TRIES
from cbngtrain.http_store import HttpStore
from tests.http_store.conftest import CONTENT, DIGEST, answer


@pytest.mark.parametrize("status", ["401 Who", "403 No", "500 Bug"])
def test_refused_download_is_no_rotten_blob(wire, patience, tmp_path, status):
    """An answer that is an error is told as such; its body is not taken for the blob's bytes."""
    served = wire(answer(status, b"what went wrong"))
    with pytest.raises(StoreError, match=status.split()[0]) as caught:
        HttpStore(served.url, patience=patience).fetch(DIGEST, tmp_path / "blob")
    assert type(caught.value) is StoreError
    assert (len(served.asked), list(tmp_path.iterdir())) == (1, [])


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
