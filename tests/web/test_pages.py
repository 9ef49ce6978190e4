"""The pages for people, and the JSON of the same addresses."""

import re

import pytest

from cbngtrain.step import Digest
from tests.web.conftest import WRITER
from web.figures import Figures, Rates, curve, figures, points
from web.templates import age, size

BROWSER = {"Accept": "text/html"}
SET = "/Legacy Import"


def report(caught: float = 62.5, edits: int = 80) -> str:
    """A trial's report."""
    return (
        "=== REPORT ===\n"
        f"Trial set: {edits} Edits - 40 vandalism, 40 legit (50.0000% vandalism)\n"
        "Using vandalism threshold 0.8500:\n"
        "False positives: 1 (2.5000% of legit edits)\n"
        "Correct positives: 30 (75.0000% of vandal edits)\n"
        "With maximum false positive rate 0.0100%, Threshold=0.9471\n"
        "Using vandalism threshold 0.9471:\n"
        "False positives: 0 (0.0000% of legit edits)\n"
        f"Correct positives: 25 ({caught:.4f}% of vandal edits)\n"
    )


TABLE = "# Threshold Correct_Positives False_Positives\n0 1 1\n0.5 0.9 0.1\n1 0 0\n"


@pytest.fixture
def publish(client, put):
    """Publish an instance with a report, a plot, a network and a log."""

    def publish(name="2025-08-01 18:36:31", target=SET, text=None, more=None):
        files = {
            "trial/report.txt": put((text or report()).encode()),
            "trial/thresholdtable.txt": put(TABLE.encode()),
            "trial/thresholds.png": put(b"picture"),
            "artifacts/main_ann.fann": put(b"network"),
            "edit-sets/train.xml": put(b"<WPEditSet/>"),
            "logs/ann.log": put(b"epochs"),
            **(more or {}),
        }
        about = {
            "artifacts": {"artifacts/main_ann.fann": {"size": 7}},
            "edit_sets": {"edit-sets/train.xml": {"url": "https://review/2"}},
            "steps": {
                "ann": {"leaves": ["artifacts/main_ann.fann"], "made_from": {"rows.dat": {}}}
            },
        }
        body = {"files": files, "about": about}
        answer = client.simulate_put(f"{target}/{name}", json=body, headers=WRITER)
        assert answer.status_code == 201
        return files

    return publish


@pytest.fixture
def page(client):
    """Get a page as a browser does."""
    return lambda path, **more: client.simulate_get(path, headers=BROWSER, **more).text


def test_empty_store(client, page):
    """An empty store has a page that says what to do, and an empty list for programs."""
    assert "CBNG_STORE_URL" in page("/")
    assert client.simulate_get("/").json["edit_sets"] == []


def test_home(page, publish):
    """The first page has every edit set with its latest instance, its age and its figures."""
    publish("2025-08-01 18:36:31")
    publish("2025-08-02 18:36:31", text=report(70))
    publish(target="/Original 50/50")
    text = page("/")
    assert 'href="/Legacy%20Import/2025-08-02%2018%3A36%3A31/"' in text
    assert 'href="/Original%2050/50/"' in text
    assert "70.00 %" in text
    assert " days ago" in text
    assert "from 62.50 % to 70.00 %" in text  # the sparkline, for who cannot see it


def test_home_for_programs(client, publish):
    """The same is there as JSON."""
    publish()
    row = client.simulate_get("/").json["edit_sets"][0]
    assert (row["name"], row["latest"]) == ("Legacy Import", "2025-08-01 18:36:31")
    assert row["figures"]["strict"]["caught"] == 62.5
    assert (row["history"], row["last_build"]) == ([62.5], None)


def put_summary(client, build, failed):
    """Leave the summary of a build."""
    body = {"edit_sets": {"Legacy Import": {"failed": failed}}}
    client.simulate_put(f"/_/builds/{build}", json=body, headers=WRITER)


def test_failed_build(client, page, publish, put):
    """The first page tells where the last build failed, with the log; an older failure is past."""
    publish()
    log = put(b"oops")
    failed = [{"step": "ann:legacy", "problem": "exit code 3", "log": log}]
    put_summary(client, "2025-08-01T00", failed)
    put_summary(client, "2025-08-02T00", [])
    assert "complete" in page("/")
    put_summary(client, "2025-08-03T00", failed)
    assert "exit code 3" in page("/")
    assert f'href="/cas/{log}?name=ann%3Alegacy.log"' in page("/")


def test_last_build(client, page, publish):
    """The first page tells in a sentence how the last build went."""
    publish()
    told = {"began": "2025-08-01 18:36:31", "status": 0, "seconds": 5, "counts": {"built": 3}}
    client.simulate_put("/_/builds/2025", json=told, headers=WRITER)
    text = " ".join(re.sub("<[^>]*>", "", page("/")).split())
    assert re.search(
        r"began 2025-08-01 18:36:31 [^.]* ago and is complete\. It took 5 s: built 3\.", text
    )


def test_summary_of_a_time_to_come(client, publish):
    """What a build left whose clock was wrong hides nothing that came after it."""
    publish()
    put_summary(client, "2999-08-01T00", [{"step": "ann:a", "problem": "exit code 3"}])
    put_summary(client, "2025-08-02T00", [])

    told = client.simulate_get("/").json
    assert told["last_build"]["build"] == "2025-08-02T00"
    assert told["edit_sets"][0]["last_build"]["failed"] == []


@pytest.mark.parametrize(
    "summary",
    [{}, {"edit_sets": []}, {"edit_sets": {"Legacy Import": 5}}],
)
def test_odd_summaries(client, page, publish, summary):
    """A summary that is not what it should be does no harm."""
    publish()
    client.simulate_put("/_/builds/2025", json=summary, headers=WRITER)
    assert "Legacy Import" in page("/")


def test_edit_set(client, page, publish):
    """An edit set's page has its instances, newest first, and says what is in production."""
    publish("2025-08-01 18:36:31")
    publish("2025-08-02 18:36:31", text=report(70))
    told = {"instance": "2025-08-01 18:36:31", "who": "me & you", "why": "<better>"}
    client.simulate_put(f"{SET}/production", json=told, headers=WRITER)
    text = page(f"{SET}/")
    assert text.index("70.00 %") < text.index("62.50 %")
    assert "me &amp; you" in text
    assert "&lt;better&gt;" in text
    value = client.simulate_get(f"{SET}/").json
    assert [row["name"][:10] for row in value["instances"]] == ["2025-08-02", "2025-08-01"]
    assert (value["latest"][:10], value["production"]["who"]) == ("2025-08-02", "me & you")


def test_instance(page, publish):
    """An instance's page has the report, plots, every artifact with digest and origin, the logs."""
    files = publish()
    text = page(f"{SET}/2025-08-01 18:36:31/")
    assert "=== REPORT ===" in text
    assert '<img src="trial/thresholds.png"' in text
    assert f'data-copy="{files["artifacts/main_ann.fann"]}"' in text
    assert "rows.dat" in text
    assert "https://review/2" in text
    assert 'href="logs/ann.log"' in text
    assert 'class="caught" points="0.0,0.0 160.0,20.0 320.0,200.0"' in text


def test_instance_that_is_not_whole(client, store, page, publish):
    """Files that are gone are named as such, and not linked to."""
    files = publish()
    store.path(Digest(files["artifacts/main_ann.fann"])).unlink()
    text = page(f"{SET}/2025-08-01 18:36:31/")
    assert "1 of its files are gone" in text
    assert 'href="artifacts/main_ann.fann"' not in text
    value = client.simulate_get(f"{SET}/latest/").json
    assert (value["whole"], len(value["missing"])) == (False, 1)


def test_instance_without_description(client, page):
    """An instance that scripts fill has a page too, with what is in it."""
    client.simulate_put(f"{SET}/2025-08-01 18:36:31/a.txt", body=b"x", headers=WRITER)
    assert "a.txt" in page(f"{SET}/2025-08-01 18:36:31/")
    assert "filled by a script" in page(f"{SET}/")


@pytest.mark.parametrize("path", ["/", "/{}/", "/{}/2025-08-01 18:36:31/"])
def test_other_peoples_text(page, publish, put, path):
    """Names, reports and descriptions are text, whatever they hold."""
    evil = "<script>alert(1)<script>"
    publish(target=f"/{evil}", text=f"{evil}\n", more={f"{evil[:8]}.txt": put(b"x")})
    text = page(path.format(evil))
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize(
    "about",
    [{"artifacts": [], "steps": [], "edit_sets": 5}, {"steps": {"ann": 5, "x": {"leaves": 5}}},
     {"artifacts": {"a.txt": {"size": "large"}}, "edit_sets": {"a.txt": "url"}}, []],
)  # fmt: skip
def test_odd_descriptions(client, page, put, about):
    """What other clients publish may describe itself in any way; it has its page."""
    body = {"files": {"a.txt": put(b"x")}, "about": about}
    client.simulate_put(f"{SET}/2025-08-01 18:36:31", json=body, headers=WRITER)
    assert "a.txt" in page(f"{SET}/2025-08-01 18:36:31/")


def test_folder(page, publish):
    """A folder below has a page with the way back up."""
    publish()
    text = page(f"{SET}/2025-08-01 18:36:31/artifacts/")
    assert 'href="main_ann.fann"' in text
    assert '<a href="/Legacy%20Import/2025-08-01%2018:36:31/">' in text
    assert '<span aria-current="page">artifacts</span>' in text


@pytest.mark.parametrize(("query", "rows"), [({}, 100), ({"page": "2"}, 30), ({"page": "3"}, 0)])
def test_paging(client, page, store, query, rows):
    """Long listings come in pages."""
    for i in range(130):
        (store.root / "tree" / "Set" / f"2025-08-01 00:{i // 60:02}:{i % 60:02}").mkdir(
            parents=True
        )
    value = client.simulate_get("/Set/", params=query).json
    assert (len(value["instances"]), len(value["entries"]), value["pages"]) == (rows, rows, 2)
    assert 'href="?page=' in page("/Set/", params=query)


@pytest.mark.parametrize("number", ["0", "-1", "x", "1" * 30])
def test_odd_pages(client, publish, number):
    """A page that is no number is malformed; one beyond the end is empty."""
    publish()
    assert client.simulate_get("/", params={"page": number}).status_code in {200, 400}


@pytest.mark.parametrize("name", ["style.css", "copy.js", "icon.svg"])
def test_static(client, name):
    """Style sheet, script and icon may be kept, and are asked for again by their digest."""
    got = client.simulate_get(f"/_/static/{name}")
    again = client.simulate_get(f"/_/static/{name}", headers={"If-None-Match": got.headers["ETag"]})
    assert (got.status_code, again.status_code) == (200, 304)


@pytest.mark.parametrize("name", ["", "..", "%2e%2e%2fapp.py", "app.py", "nothing"])
def test_no_other_static(client, name):
    """Nothing else is served from there."""
    assert client.simulate_get(f"/_/static/{name}").status_code == 404


@pytest.mark.parametrize("path", ["/", f"{SET}/", f"{SET}/2025-08-01 18:36:31/", "/nothing"])
def test_pages_write_no_style_or_script(page, publish, path):
    """The pages keep to the policy that they are sent with: nothing written in."""
    publish()
    text = page(path)
    assert text.count("<script") == text.count('<script src="/_/static/') == 1
    assert [word for word in ("<style", " style=", " onclick", "javascript:") if word in text] == []


# Numbers -----------------------------------------------------------------------------------------


def test_figures():
    """A report's numbers are read as it tells them."""
    assert figures(report()) == Figures(
        80, 40, 40, Rates(0.85, 2.5, 75.0), Rates(0.9471, 0.0, 62.5), 0.01
    )


@pytest.mark.parametrize(
    "text", ["", "nothing", report()[:150], report().replace("75.0000", "-nan"),
             report().replace("0.9471", "x"), report().replace("75.0000", "inf")],
)  # fmt: skip
def test_no_figures(text):
    """What is no whole report, or cannot tell, has no figures."""
    assert figures(text) is None


@pytest.mark.parametrize(
    ("values", "line"),
    [([1.0, 3.0, 2.0], "0.0,20.0 50.0,0.0 100.0,10.0"), ([5.0, 5.0], "0.0,10.0 100.0,10.0"),
     ([7.0], "0.0,10.0")],
)  # fmt: skip
def test_points(values, line):
    """A sparkline uses its whole height; equal values lie in the middle."""
    assert points(values, 100, 20) == line


@pytest.mark.parametrize("table", ["", "# only\n", "0 1 1\n", "0 1\n1 0\n", "a b c\nd e f\n"])
def test_no_curve(table):
    """What is no table of thresholds has no curve."""
    assert curve(table, 320, 200) is None


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "just now"), (59, "just now"), (60, "1 minute ago"), (7199, "1 hour ago"),
     (7200, "2 hours ago"), (86400 * 3, "3 days ago"), (-100, "just now")],
)  # fmt: skip
def test_age(seconds, told):
    """Ages are told in the largest unit that fits."""
    assert age("1970-01-02 00:00:00", now=86400.0 + seconds) == told


@pytest.mark.parametrize(
    ("number", "told"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 KB"), (2_000_000, "2.0 MB"),
     (3_100_000_000, "3.1 GB"), (None, "gone")],
)  # fmt: skip
def test_size(number, told):
    """Sizes are told in units for people."""
    assert size(number) == told
