"""What the store's client asks again, how long it waits, and which answers it takes at once."""

import socket
from functools import partial

import pytest

from cbngtrain.errors import StoreError
from cbngtrain.http_client import PATIENCE, TRIES, Patience
from cbngtrain.http_store import HttpStore
from tests.http_store.conftest import CONTENT, DIGEST, answer


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
