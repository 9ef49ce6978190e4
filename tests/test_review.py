"""The review service, over a real socket and on disk."""

import gzip
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import requests_mock

from cbngtrain.errors import ReviewError
from cbngtrain.review import EditGroup, ReviewService, edit_groups_from_json
from tests.conftest import dump, edits

Answer = Callable[[BaseHTTPRequestHandler], None]

GROUPS_PATH = "/api/v1/edit-groups/?exclude_empty_editsets=1"
DUMP_PATH = "/api/v1/edit-groups/2/dump-editset/"
WHOLE = dump(edits(1, 50))

ROW = {"id": 1, "name": "Legacy", "related_to": None, "type": "Generic"}


def answer(status: int, body: str | bytes = b"", kind: str = "text/xml") -> Answer:
    """Answer with a length, as most servers do."""

    def give(request: BaseHTTPRequestHandler) -> None:
        text = body.encode() if isinstance(body, str) else body
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    return give


def groups(*rows: object) -> Answer:
    """Answer with edit groups."""
    return answer(200, json.dumps(rows, ensure_ascii=False), "application/json")


def chunked(body: str, *, ends: bool = True) -> Answer:
    """Answer as the review service streams: in chunks, without a length; or break off."""

    def give(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for start in range(0, len(body), 1000):
            part = body[start : start + 1000].encode()
            request.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
        request.wfile.write(b"0\r\n\r\n" if ends else b"")
        request.close_connection = True

    return give


def until_closed(body: str) -> Answer:
    """Answer as an old server does: the end of the connection is the end of the body."""

    def give(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        request.wfile.write(body.encode())

    return give


def short(request: BaseHTTPRequestHandler) -> None:
    """Promise more than is sent."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(WHOLE) + 1))
    request.end_headers()
    request.wfile.write(WHOLE.encode())
    request.close_connection = True


def hang_up(request: BaseHTTPRequestHandler) -> None:
    """Close the connection without a word."""
    request.close_connection = True


class Server(ThreadingHTTPServer):
    """A server that says nothing of clients that leave early."""

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


class Service:
    """A review service: path → its answers one after another, the last again and again."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[str] = []
        self.agents: set[str | None] = set()
        self.waits: list[float] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # who asks need not wait 40 ms for a body

            def do_GET(self) -> None:
                """Give the next answer."""
                service.asked.append(self.path)
                service.agents.add(self.headers["User-Agent"])
                answers = service.answers.get(self.path, [answer(404, "nothing here")])
                (answers.pop(0) if len(answers) > 1 else answers[0])(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.client = ReviewService(self.url, sleep=self.waits.append)

    def download(self, path: Path) -> str:
        """Download the dump of group 2 to *path*; return what was written."""
        self.client.download(self.url + DUMP_PATH, path)
        return path.read_text(encoding="utf-8")


@pytest.fixture
def service() -> Iterator[Service]:
    """A review service on a loopback port."""
    running = Service()
    thread = threading.Thread(target=running.server.serve_forever, args=(0.01,))
    thread.start()
    yield running
    running.server.shutdown()
    running.server.server_close()
    thread.join()


@pytest.fixture
def closed_port() -> str:
    """The URL of a port on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{held.getsockname()[1]}"


# Edit groups -----------------------------------------------------------------------------------


def test_edit_groups(service: Service):
    """All groups come as the service lists them, and it is told not to list empty ones."""
    service.answers[GROUPS_PATH] = [
        groups(ROW, {"id": 2, "name": "ClüeBot 😀", "related_to": 1, "type": "Training", "x": 0})
    ]

    found = service.client.edit_groups()

    assert found == [
        EditGroup(1, "Legacy", "Generic", None),
        EditGroup(2, "ClüeBot 😀", "Training", 1),
    ]
    assert service.asked == [GROUPS_PATH]
    assert service.agents == {"cbngtrain (https://en.wikipedia.org/wiki/User:ClueBot_NG)"}


def test_no_edit_groups(service: Service):
    """An empty list is an answer."""
    service.answers[GROUPS_PATH] = [groups()]

    assert service.client.edit_groups() == []


def test_slash_at_the_end_of_the_url(service: Service):
    """The service's URL may end in a slash."""
    service.answers[GROUPS_PATH] = [groups()]

    assert ReviewService(service.url + "/").edit_groups() == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<html>Sign in</html>", "the answer is no JSON: '<html>Sign in"),
        ("", "the answer is no JSON: ''"),
        (b"\xff\xfe\xff", "the answer is no JSON"),
        ("[" * 100_000, "the answer is no JSON"),
        ("{}", "not a list of edit groups but '{}'"),
        ('{"detail": "Throttled."}', "not a list of edit groups but"),
        ("null", "not a list of edit groups"),
        ("[1]", "an edit group is malformed"),
        ("[[]]", "an edit group is malformed"),
        (json.dumps([{**ROW, "type": "Other"}]), "malformed: {'id': 1, 'name': 'Legacy'"),
        (json.dumps([{**ROW, "type": ["Trial"]}]), "an edit group is malformed"),
        (json.dumps([{**ROW, "id": "1"}]), "an edit group is malformed"),
        (json.dumps([{**ROW, "id": True}]), "an edit group is malformed"),
        (json.dumps([{**ROW, "name": None}]), "an edit group is malformed"),
        (json.dumps([{**ROW, "name": "\ud800"}]), "an edit group is malformed"),
        (json.dumps([{**ROW, "related_to": "1"}]), "an edit group is malformed"),
        (json.dumps([{**ROW, "related_to": False}]), "an edit group is malformed"),
        (json.dumps([ROW, ROW]), "edit group 1 is listed twice"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_nonsense_is_refused(service: Service, body: str | bytes, told: str):
    """What is no list of edit groups is refused at once, with the URL."""
    service.answers[GROUPS_PATH] = [answer(200, body, "application/json")]

    with pytest.raises(ReviewError) as error:
        service.client.edit_groups()

    assert str(error.value).startswith(f"{service.url}{GROUPS_PATH}: ")
    assert told in str(error.value)
    assert service.waits == []


@pytest.mark.parametrize("key", sorted(ROW))
def test_missing_key_is_named(key: str):
    """A row that lacks a key is refused, and the key is named."""
    row = {name: value for name, value in ROW.items() if name != key}

    with pytest.raises(ReviewError, match=f"url: an edit group is malformed: KeyError.'{key}'"):
        edit_groups_from_json([row], "url")


def test_group_goes_through_json():
    """What `to_json` gives, `from_json` takes."""
    group = EditGroup(2, "a", "Trial", 1)

    assert edit_groups_from_json(json.loads(json.dumps([group.to_json()])), "url") == [group]


# What goes wrong, and may pass -----------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_busy_service_is_asked_again(
    service: Service, caplog: pytest.LogCaptureFixture, status: int
):
    """A service that is busy or restarts is asked again, and that is said."""
    service.answers[GROUPS_PATH] = [answer(status), answer(status), groups(ROW)]

    with caplog.at_level(logging.WARNING):
        found = service.client.edit_groups()

    assert len(found) == 1
    assert service.waits == [1, 2]
    assert f"the review service answered {status}" in caplog.messages[0]
    assert caplog.messages[0].endswith("; trying again in 1 s")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 501])
def test_refusal_is_final(service: Service, status: int):
    """A service that refuses is not asked again."""
    service.answers[GROUPS_PATH] = [answer(status)]

    with pytest.raises(ReviewError, match=f"edit-groups/.*service answered {status}"):
        service.client.edit_groups()

    assert (len(service.asked), service.waits) == (1, [])


def test_service_that_stays_away(service: Service):
    """It is asked four times in all, and the last answer is told."""
    service.answers[GROUPS_PATH] = [answer(503)]

    with pytest.raises(ReviewError, match="answered 503 Service Unavailable"):
        service.client.edit_groups()

    assert (len(service.asked), service.waits) == (4, [1, 2, 4])


def test_connection_that_is_hung_up(service: Service):
    """A connection that ends without an answer is tried again."""
    service.answers[GROUPS_PATH] = [hang_up, groups(ROW)]

    assert len(service.client.edit_groups()) == 1


def test_nobody_listens(closed_port: str, tmp_path: Path):
    """A connection that is refused is tried four times, and leaves no file."""
    waits: list[float] = []
    client = ReviewService(closed_port, sleep=waits.append)

    with pytest.raises(ReviewError, match=f"{closed_port}.*cannot be asked: Connection refused$"):
        client.edit_groups()
    with pytest.raises(ReviewError, match="cannot be asked"):
        client.download(closed_port + DUMP_PATH, tmp_path / "raw")

    assert waits == [1, 2, 4, 1, 2, 4]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [requests.ConnectTimeout, requests.ReadTimeout])
def test_service_that_does_not_answer(error: type[requests.Timeout]):
    """A request that takes too long is tried again: no test waits for that."""
    waits: list[float] = []
    with requests_mock.Mocker() as mocker:
        mocker.get("http://far.example" + GROUPS_PATH, [{"exc": error}, {"json": [ROW]}])

        found = ReviewService("http://far.example", sleep=waits.append).edit_groups()

    assert (len(found), waits) == (1, [1])
    timeout = mocker.request_history[0].timeout
    assert timeout == (10, 300)


@pytest.mark.parametrize("url", ["ftp://review.example/1", "/tmp/dump.xml", "http://"])
def test_url_that_cannot_be_asked(tmp_path: Path, url: str):
    """A URL of no use is refused at once."""
    waits: list[float] = []

    with pytest.raises(ReviewError, match="cannot be asked"):
        ReviewService("http://review.example", waits.append).download(url, tmp_path / "raw")

    assert waits == []


# Dumps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "give", [answer(200, WHOLE), chunked(WHOLE), until_closed(WHOLE)],
    ids=["with length", "chunked", "until closed"],
)  # fmt: skip
def test_dump(service: Service, tmp_path: Path, give: Answer):
    """A dump comes to the byte, with a length or, as the service streams it, without."""
    service.answers[DUMP_PATH] = [give]
    group = EditGroup(2, "a", "Training", 1)

    assert service.client.dump_url(group) == service.url + DUMP_PATH
    assert service.download(tmp_path / "raw") == WHOLE
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    "broken", [chunked(WHOLE[:3000], ends=False), short, hang_up, answer(502)],
    ids=["chunks", "length", "nothing", "gateway"],
)  # fmt: skip
def test_broken_download_is_begun_again(service: Service, tmp_path: Path, broken: Answer):
    """A download that breaks off is begun again, and nothing of the first is left in it."""
    service.answers[DUMP_PATH] = [broken, chunked(WHOLE)]

    assert service.download(tmp_path / "raw") == WHOLE
    assert len(service.asked) == 2


def test_download_that_breaks_off_each_time(service: Service, tmp_path: Path):
    """After four times it is an error that names the URL."""
    service.answers[DUMP_PATH] = [chunked(WHOLE[:3000], ends=False)]

    with pytest.raises(ReviewError, match=DUMP_PATH):
        service.download(tmp_path / "raw")

    assert (len(service.asked), service.waits) == (4, [1, 2, 4])


@pytest.mark.parametrize("broken", [until_closed(WHOLE[:3000]), chunked(WHOLE[:3000])])
def test_dump_without_its_end_tag_is_asked_for_once_more(
    service: Service, tmp_path: Path, broken: Answer
):
    """A dump that the server broke off looks like a whole answer, but for its end tag."""
    service.answers[DUMP_PATH] = [broken, chunked(WHOLE)]

    assert service.download(tmp_path / "raw") == WHOLE


def test_dump_that_stays_without_its_end_tag(service: Service, tmp_path: Path):
    """What is cut twice is handed on: its reader refuses it and tells the line."""
    service.answers[DUMP_PATH] = [chunked(WHOLE[:3000])]

    assert service.download(tmp_path / "raw") == WHOLE[:3000]
    assert len(service.asked) == 2


def test_page_instead_of_a_dump_is_handed_on(service: Service, tmp_path: Path):
    """What does not begin like a dump is not asked for again: its reader refuses it."""
    service.answers[DUMP_PATH] = [answer(200, "<html></html>")]

    assert service.download(tmp_path / "raw") == "<html></html>"
    assert len(service.asked) == 1


def test_missing_dump(service: Service, tmp_path: Path):
    """A group that is gone is an error that names the URL, and no file is left."""
    with pytest.raises(ReviewError, match=f"{DUMP_PATH}: .* answered 404 Not Found"):
        service.download(tmp_path / "raw")

    assert list(tmp_path.iterdir()) == []


def test_disk_that_cannot_be_written(service: Service, tmp_path: Path):
    """A place that cannot be written is no fault of the service's, and is not tried again."""
    service.answers[DUMP_PATH] = [chunked(WHOLE)]

    with pytest.raises(ReviewError, match=r"its answer cannot be written: .*Is a directory"):
        service.download(tmp_path)

    assert service.waits == []


# On disk ---------------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A service on disk, with one dump plain and one gzipped."""
    (tmp_path / "dumps").mkdir()
    (tmp_path / "edit-groups.json").write_text(json.dumps([ROW]), encoding="utf-8")
    (tmp_path / "dumps" / "2.xml").write_text(WHOLE, encoding="utf-8")
    (tmp_path / "dumps" / "3.xml.gz").write_bytes(gzip.compress(WHOLE.encode()))
    return tmp_path


def test_groups_on_disk(directory: Path):
    """``file:DIR`` stands for a service, with or without a slash at its end."""
    assert ReviewService(f"file:{directory}").edit_groups() == [
        EditGroup(1, "Legacy", "Generic", None)
    ]
    assert len(ReviewService(f"file:{directory}/").edit_groups()) == 1


@pytest.mark.parametrize(("group", "name"), [(2, "2.xml"), (3, "3.xml.gz")])
def test_dumps_on_disk(directory: Path, tmp_path: Path, group: int, name: str):
    """A dump on disk, plain or gzipped, is copied as it is."""
    client = ReviewService(f"file:{directory}/")
    url = client.dump_url(EditGroup(group, "a", "Training", None))

    client.download(url, tmp_path / "raw")

    assert url == f"file:{directory}/dumps/{name}"
    assert (tmp_path / "raw").read_bytes() == (directory / "dumps" / name).read_bytes()


def test_missing_dump_on_disk(directory: Path, tmp_path: Path):
    """A dump that is not there is an error that names it."""
    client = ReviewService(f"file:{directory}")
    url = client.dump_url(EditGroup(4, "a", "Training", None))

    with pytest.raises(ReviewError, match=r"dumps/4.xml.gz: cannot be copied: No such file"):
        client.download(url, tmp_path / "raw")


@pytest.mark.parametrize(
    ("text", "told"), [("{", "is no JSON"), ("{}", "not a list"), ("[{}]", "malformed")]
)
def test_nonsense_on_disk(directory: Path, text: str, told: str):
    """A file that is no list of edit groups is refused with its path."""
    (directory / "edit-groups.json").write_text(text, encoding="utf-8")

    with pytest.raises(ReviewError, match=f"edit-groups.json: .*{told}"):
        ReviewService(f"file:{directory}").edit_groups()


def test_missing_groups_on_disk(tmp_path: Path):
    """A directory without groups is an error that names the file."""
    with pytest.raises(ReviewError, match=r"edit-groups.json: .* cannot be read: No such file"):
        ReviewService(f"file:{tmp_path}").edit_groups()
