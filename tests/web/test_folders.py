"""What is published: files, folders, aliases, and what scripts write there."""

import json
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.web.conftest import LATER, TIME, WRITER, digest_of

SET = "/Original Testing - Random Edits 50/50"
HERE = f"{SET}/{TIME}"


@pytest.fixture
def publish(client, put):
    """Publish an instance of one file."""

    def publish(time=TIME, content=b"report", target=SET):
        files = {"trial/report.txt": put(content), "artifacts/bayes.db": put(b"database")}
        return client.simulate_put(f"{target}/{time}", json={"files": files}, headers=WRITER)

    return publish


def test_published(client, publish):
    """An instance is published whole: its files, and instance.json that describes it."""
    assert publish().status_code == 201
    got = client.simulate_get(f"{HERE}/trial/report.txt")
    assert (got.text, got.headers["ETag"]) == ("report", f'"{digest_of(b"report")}"')
    assert "immutable" in got.headers["Cache-Control"]
    about = client.simulate_get(f"{HERE}/instance.json")
    assert about.json["files"]["trial/report.txt"] == digest_of(b"report")
    assert about.headers["Content-Type"] == "application/json"


def test_published_again(publish):
    """The same instance again is no error; another under its name is refused."""
    assert [publish().status_code, publish().status_code] == [201, 200]
    assert publish(content=b"other").status_code == 409


def test_published_by_many_at_once(gunicorn):
    """Of many who publish the same instance one made it; of those with other files none did."""
    contents = [b"report", b"another"]
    for content in contents:
        url = f"{gunicorn.url}/cas/{digest_of(content)}"
        requests.put(url, content, headers=WRITER, timeout=60)

    def publish(number):
        files = {f"{i}.txt": digest_of(contents[number % 2]) for i in range(20)}
        url = f"{gunicorn.url}/At once/{TIME}"
        return requests.put(url, json={"files": files}, headers=WRITER, timeout=60).status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = Counter(pool.map(publish, range(40)))
    assert statuses == {201: 1, 200: 19, 409: 20}
    at = gunicorn.root / "tree" / "At once"
    assert sorted(path.name for path in at.iterdir()) == [TIME, "latest"]


def test_published_without_blobs(client, store):
    """An instance whose blobs are not here is refused, with a list of those, and leaves nothing."""
    files = {"a.txt": "0" * 64}
    got = client.simulate_put(HERE, json={"files": files}, headers=WRITER)
    assert (got.status_code, got.json["missing"]) == (422, ["0" * 64])
    assert not (store.root / "tree").exists()


@pytest.mark.parametrize(
    "path",
    ["../x", "/x", "a//b", "", ".", "a/../../b", "instance.json", ".hidden", "a\nb", "a\x00",
     "x" * 201, "a/" * 30, "\u202egpj.exe", "\u200b"],
)  # fmt: skip
def test_paths_in_an_instance(client, store, put, path):
    """A path that could lead elsewhere, or look like another, is refused in an instance."""
    got = client.simulate_put(HERE, json={"files": {path: put(b"x")}}, headers=WRITER)
    assert got.status_code == 422
    assert not (store.root / "tree").exists()


@pytest.mark.parametrize("other", ["a/b", "a/b/c"])
def test_file_that_is_a_folder_too(client, store, put, other):
    """A path cannot be a file and have others below it; nothing of such an instance is left."""
    files = {"a": put(b"x"), other: put(b"y")}
    got = client.simulate_put(HERE, json={"files": files}, headers=WRITER)
    assert (got.status_code, "a folder" in got.json["detail"]) == (422, True)
    assert not (store.root / "tree").exists()


def test_deepest(client, put):
    """Every path that can be published can be got, however deep edit set and path are."""
    target, path = "/".join("e" * 10), "/".join("p" * 20)
    at = f"/{target}/{TIME}"
    published = client.simulate_put(at, json={"files": {path: put(b"deep")}}, headers=WRITER)
    assert published.status_code == 201
    assert client.simulate_get(f"{at}/{path}").text == "deep"


def test_surrogates_in_an_instance(client, put):
    """Half a character, which JSON can hold, is no part of a name."""
    body = b'{"files": {"\\ud800": "%s"}}' % put(b"x").encode()
    assert client.simulate_put(HERE, body=body, headers=WRITER).status_code == 400


@pytest.mark.parametrize("value", [[], {}, {"files": []}, {"files": {"a": 1}}, "text", 5])
def test_malformed_instance(client, value):
    """What is no instance is refused."""
    assert client.simulate_put(HERE, json=value, headers=WRITER).status_code == 400


def test_latest(client, publish):
    """`latest` is the newest instance, never an older one, and answers say which it is."""
    publish(LATER, b"newer")
    publish(TIME, b"older")
    got = client.simulate_get(f"{SET}/latest/trial/report.txt")
    assert (got.text, got.headers["Cache-Control"]) == ("newer", "no-cache")
    assert got.headers["Content-Location"].endswith("/2025-08-02%2000:00:00/trial/report.txt")


def test_production(client, publish):
    """`production` is moved by hand, to what is published; its record says who, when, why."""
    publish()
    assert client.simulate_get(f"{SET}/production/trial/report.txt").status_code == 404
    told = {"instance": TIME, "who": "me", "why": "better"}
    got = client.simulate_put(f"{SET}/production", json=told, headers=WRITER)
    assert {**got.json, "when": ""} == {**told, "when": ""}
    got = client.simulate_get(f"{SET}/production/trial/report.txt")
    assert (got.text, got.headers["Cache-Control"]) == ("report", "no-cache")
    assert TIME[-8:] in got.headers["Content-Location"]


@pytest.mark.parametrize(
    ("told", "status"),
    [({"instance": LATER}, 422), ({"instance": "../.."}, 400), ({}, 400), ([], 400)],
)
def test_production_of_nothing(client, publish, told, status):
    """`production` is nothing but an instance that is published."""
    publish()
    got = client.simulate_put(f"{SET}/production", json=told, headers=WRITER)
    assert got.status_code == status


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_script(client, method):
    """People's scripts put file after file: 201, again 200, with other bytes 409."""
    path = f"{HERE}/artifacts/main_ann.fann"
    statuses = [
        client.simulate_request(method, path, body=body, headers=WRITER).status_code
        for body in (b"one", b"one", b"two")
    ]
    assert statuses == [201, 200, 409]
    assert client.simulate_get(path).content == b"one"


def test_script_after_publishing(client, publish):
    """Nothing is added to an instance that is published."""
    publish()
    got = client.simulate_put(f"{HERE}/more.txt", body=b"x", headers=WRITER)
    assert got.status_code == 409
    assert client.simulate_get(f"{HERE}/more.txt").status_code == 404


def test_publishing_over_a_script(client, publish):
    """An instance that scripts fill is not published over."""
    client.simulate_put(f"{HERE}/a.txt", body=b"x", headers=WRITER)
    assert publish().status_code == 409


@pytest.mark.parametrize("path", ["a.txt/b.txt", "b"])
def test_file_and_folder(client, path):
    """A file does not become a folder, nor a folder a file."""
    client.simulate_put(f"{HERE}/a.txt", body=b"x", headers=WRITER)
    client.simulate_put(f"{HERE}/b/c.txt", body=b"x", headers=WRITER)
    assert client.simulate_put(f"{HERE}/{path}", body=b"y", headers=WRITER).status_code == 409


@pytest.mark.parametrize(
    "path",
    ["/x.txt", "/A set/x.txt", "/A set/latest/x.txt", "/A set/production/x.txt", f"/{TIME}/x.txt",
     f"/cas/{TIME}/x.txt", f"/_/{TIME}/x.txt", f"/A set/{TIME}/.x", f"/A set/{TIME}/a/../x",
     f"/A//set/{TIME}/x", f"/A set/{TIME}/a%00b", f"/A set/{TIME}/{'x' * 201}",
     f"/A set/{TIME}/instance.json", f"/ac/{TIME}/x", f"/A set/{TIME}/a%0ab",
     f"/A set/{TIME}/folder/"],
)  # fmt: skip
def test_where_nothing_is_put(client, store, path):
    """Files are put into dated instances under names that mean nothing else."""
    got = client.simulate_put(path, body=b"x", headers=WRITER)
    assert got.status_code in {404, 422}
    assert not (store.root / "tree").exists()


def test_gone(client, store, publish):
    """A published file whose blob was lost is gone, and that is said."""
    publish()
    store.path(digest_of(b"report")).unlink()
    assert client.simulate_get(f"{HERE}/trial/report.txt").status_code == 410


def test_folders_from_before(client, store):
    """Files that are no links, from before there were blobs, are served as they are."""
    folder = store.root / "tree" / "Old" / TIME / "logs"
    folder.mkdir(parents=True)
    (folder / "train.log").write_bytes(b"trained")
    got = client.simulate_get(f"/Old/{TIME}/logs/train.log")
    assert (got.text, got.headers["ETag"]) == ("trained", f'"{digest_of(b"trained")}"')
    listing = client.simulate_get(f"/Old/{TIME}/logs/").json
    assert [entry["name"] for entry in listing["entries"]] == ["train.log"]


@pytest.mark.parametrize("goal", ["/etc/passwd", "../../../../secret", "../../../heads/x.json"])
def test_links_out_of_the_store(client, store, goal, tmp_path):
    """A symbolic link that leads anywhere but to published files or blobs is not followed."""
    folder = store.root / "tree" / "Old" / TIME
    folder.mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(goal)
    (folder / "outside").symlink_to(tmp_path)
    assert client.simulate_get(f"/Old/{TIME}/link").status_code == 404
    assert client.simulate_get(f"/Old/{TIME}/outside/").status_code == 404
    assert client.simulate_get(f"/Old/{TIME}/outside/secret").status_code == 404


@pytest.mark.parametrize(
    ("link", "below"),
    [
        ("Old", f"{TIME}/x.txt"),
        (f"Old/{TIME}", "x.txt"),
        (f"Old/{TIME}/sub", "x.txt"),
        ("Old", TIME),
        (f"Old/{TIME}", ""),
    ],
)
def test_nothing_is_written_through_links(client, store, put, link, below):
    """Where a folder is a link out of the store nothing is put, and nothing published."""
    outside = store.root.with_name("outside")
    outside.mkdir()
    place = store.root / "tree" / link
    place.parent.mkdir(parents=True)
    place.symlink_to(outside)
    body = json.dumps({"files": {"a.txt": put(b"x")}}).encode()
    got = client.simulate_put(f"/{link}/{below}", body=body, headers=WRITER)
    assert (got.status_code, list(outside.iterdir())) == (409, [])


def test_instance_that_is_described_elsewhere(client, publish, store, tmp_path):
    """An instance.json that is a link out of the store describes nothing."""
    publish()
    described = store.root / "tree" / HERE[1:] / "instance.json"
    (tmp_path / "secret.json").write_bytes(described.read_bytes())
    described.unlink()
    described.symlink_to(tmp_path / "secret.json")
    assert client.simulate_get(f"{HERE}/").json["instance"] is None


def test_devices(client, store):
    """What is no regular file is not opened, so a pipe holds nobody up."""
    folder = store.root / "tree" / "Old" / TIME
    folder.mkdir(parents=True)
    os.mkfifo(folder / "pipe")
    assert client.simulate_get(f"/Old/{TIME}/pipe").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/..", "/../heads", "/%2e%2e/heads", "/A%2f..%2f..", "/.production.json", "/A set/.x.part/",
     "/a%00b", "/a%0ab", "/" + "x" * 300, "/nothing", "/nothing/", "/cas", "/cas/", "/ac/",
     "/heads/", "/_/", f"/nothing/{TIME}/", "/%e2%80%ae", "/" + "a/" * 30, "//etc/passwd",
     f"{HERE}//", f"{HERE}//trial/report.txt", f"{HERE}/trial//report.txt"],
)  # fmt: skip
def test_where_nothing_is(client, publish, path):
    """Addresses that name nothing, or must not, are not found."""
    publish()
    assert client.simulate_get(path).status_code == 404


@pytest.mark.parametrize("path", ["/%ff", "/a/%c0%ae%c0%ae/b", "/%ed%a0%80"])
def test_no_utf8(client, path):
    """A path that is no UTF-8 is malformed: two such could look alike."""
    raw = path.encode()
    extras = {"PATH_INFO": os.fsdecode(b"")} | {"PATH_INFO": _unquoted(raw)}
    assert client.simulate_get("/", extras=extras).status_code == 400


def _unquoted(raw):
    """What a WSGI server hands on of a percent-encoded path."""
    pieces = raw.split(b"%")
    rest = b"".join(bytes([int(piece[:2], 16)]) + piece[2:] for piece in pieces[1:])
    return (pieces[0] + rest).decode("latin-1")


@pytest.mark.parametrize(
    "name",
    ["Ünïcode ☃", "50% & more? #1", "日本語", "con", "a'b\"c", "a+b", "no-break\u00a0space",
     "zero\u200cwidth", "new \U0001fae9", "dot."],
)  # fmt: skip
def test_any_name(client, publish, name):
    """Edit sets may be called what they like; their folder links to what is in it."""
    target = "/" + name.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    assert publish(target=target).status_code == 201
    got = client.simulate_get(f"{target}/{TIME}/trial/report.txt")
    assert got.text == "report"
    assert name in [entry["name"] for entry in client.simulate_get("/").json["entries"]]


@pytest.mark.parametrize("path", [SET, HERE, f"{HERE}/trial", f"{SET}/latest"])
def test_folder_without_slash(client, publish, path):
    """A folder's address ends with a slash, so that links in it lead where they should."""
    publish()
    got = client.simulate_get(path)
    assert (got.status_code, got.headers["Location"][-1]) == (308, "/")
    assert client.simulate_get(f"{path}/").status_code == 200
    paged = client.simulate_get(path, params={"page": 2})
    assert paged.headers["Location"] == got.headers["Location"] + "?page=2"


def test_listing(client, publish):
    """A folder is listed for programs: names, sizes, digests."""
    publish()
    got = client.simulate_get(f"{HERE}/trial/")
    assert got.headers["Cache-Control"] == "no-cache"
    assert [(e["name"], e["size"], e["digest"]) for e in got.json["entries"]] == [
        ("report.txt", 6, digest_of(b"report"))
    ]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("", "application/json"),
        ("application/json, text/html;q=0.5", "application/json"),
        ("nonsense", "application/json"),
        ("text/html;q=0", "application/json"),
        ("text/*", "text/html; charset=utf-8"),
        ("*/*, text/html;q=0.1", "application/json"),
    ],
)
def test_pages_or_json(client, publish, accept, kind):
    """Browsers get pages, programs get JSON, at the same addresses."""
    publish()
    got = client.simulate_get(f"{SET}/", headers={"Accept": accept})
    assert (got.headers["Content-Type"], got.headers["Vary"]) == (kind, "Accept")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("text/html", "text/html; charset=utf-8"), ("*/*", "application/problem+json")],
)
def test_errors_for_both(client, accept, kind):
    """An error is a small page for people and a problem in JSON for programs."""
    got = client.simulate_get("/<script>alert(1)</script>", headers={"Accept": accept})
    assert (got.status_code, got.headers["Content-Type"]) == (404, kind)
    assert "<script>" not in got.text or kind.endswith("json")


def test_no_stack_trace(client, store, monkeypatch, caplog):
    """A bug is logged; who asked is told that it is one, and no more."""
    monkeypatch.setattr(type(store), "find", lambda *_: 1 // 0)
    got = client.simulate_get(f"/ac/{'0' * 64}")
    assert (got.status_code, "ZeroDivision" in got.text) == (500, False)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", HERE), ("DELETE", f"{HERE}/trial/report.txt"), ("PATCH", f"/cas/{'0' * 64}"),
     ("POST", f"/cas/{'0' * 64}"), ("TRACE", "/"), ("PUT", "/"), ("GET", "/_/missing"),
     ("POST", f"/ac/{'0' * 64}")],
)  # fmt: skip
def test_methods_not_meant(client, publish, method, path):
    """A method that is not meant for an address is refused, and those that are, are named."""
    publish()
    got = client.simulate_request(method, path, headers=WRITER)
    assert (got.status_code, got.json["title"]) == (405, "Method Not Allowed")
    assert got.headers["Allow"] in got.json["detail"]


def test_security_headers(client):
    """Every answer tells browsers not to guess types, nor run what is written in."""
    got = client.simulate_get("/nothing")
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert got.headers["Referrer-Policy"] == "no-referrer"
    assert "unsafe" not in got.headers["Content-Security-Policy"]
    assert got.headers["Content-Security-Policy"].startswith("default-src 'none'")
