"""What builds leave for those who watch them: summaries, pages, numbers."""

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from falcon import testing
from prometheus_client.parser import text_string_to_metric_families

from cbngtrain.errors import StoreError
from cbngtrain.store import DirectoryStore
from cbngtrain.summary import Course, summary
from cbngtrain.watching import keep_summary, write_metrics
from tests.conftest import Site
from web.app import create_app
from web.auth import Tokens
from web.service import Service
from web.tree import Tree

NOTHING = r"Nothing to do: (\d+) up to date, 4 sources unchanged\."


def summaries(site: Site) -> list[dict[str, Any]]:
    """The summaries in the site's store, oldest first."""
    return [
        json.loads(path.read_bytes()) for path in sorted((site.base / "store/builds").iterdir())
    ]


def home(site: Site) -> tuple[dict[str, Any], str]:
    """What ``/`` shows of the site's store: for programs, for people."""
    store = DirectoryStore(site.base / "store")
    service = Service(store, Tree(store), Tokens(["x"]), largest=1, keep_free=0)
    client = testing.TestClient(create_app(service))
    page = client.simulate_get("/", headers={"Accept": "text/html"})
    return client.simulate_get("/").json, page.text


def numbers(path: Path) -> dict[str, float]:
    """The numbers in a file for Prometheus, by name and labels."""
    families = text_string_to_metric_families(path.read_text(encoding="utf-8"))
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in families
        for sample in family.samples
    }


def test_build_and_no_op_leave_summaries(built: Site):
    """A first build tells what it built, and one with nothing to do that it looked."""
    (line,) = built.run().lines
    looked_at = re.fullmatch(NOTHING, line)
    assert looked_at

    first, second = summaries(built)
    assert first["status"] == second["status"] == 0
    assert (first["counts"]["source changed"], first["counts"]["published"]) == (4, 2)
    built_steps = [len(each["built"]) for each in first["edit_sets"].values()]
    assert (len(built_steps), sum(built_steps)) == (2, first["counts"]["built"])
    assert first["edit_sets"]["Alpha"]["built"][0]["why"] == "no record"
    assert first["edit_sets"]["Alpha"]["published"]
    assert second["counts"]["source unchanged"] == 4
    assert sum(second["counts"].values()) == 4 + int(looked_at[1])
    assert [each["complete"] for each in second["edit_sets"].values()] == [True, True]
    assert (first["pods"], first["pod_seconds"]) == (0, 0)
    told, page = home(built)
    assert told["last_build"]["status"] == 0
    assert "is complete" in page


@pytest.mark.slow
def test_failure_is_told_with_its_log_and_how_often(site: Site):
    """A build that failed twice in a row for the same reason is visible on ``/``."""
    site.behave(create_ann={"exit": 7})
    for _ in range(2):
        ended = site.run("ann:alpha", "publish:alpha")
        assert ended.status == 10, ended

    last = summaries(site)[-1]
    assert (last["status"], last["counts"]["failed"]) == (10, 1)
    assert {"trial:alpha", "publish:alpha"} <= set(last["edit_sets"]["Alpha"]["not_built"])
    told, page = home(site)
    row = {row["name"]: row for row in told["edit_sets"]}["Alpha"]["last_build"]
    assert row["in_a_row"] == 2
    assert [failure["step"] for failure in row["failed"]] == ["ann:alpha"]
    assert "exit code 7" in row["failed"][0]["problem"]
    assert "fails as told" in DirectoryStore(site.base / "store").path(
        row["failed"][0]["log"]
    ).read_text(encoding="utf-8")
    assert "failed 2 times in a row for the same reason" in page


def test_build_that_cannot_begin_is_told(built: Site):
    """Where the review service is away, ``/`` says so; a store is not made for that alone."""
    away = {"CBNG_REVIEW_URL": "file:../nowhere"}
    assert built.run(env=away).status == 3

    last = summaries(built)[-1]
    assert last["status"] == 14
    assert "nowhere" in last["problem"]
    told, page = home(built)
    assert told["last_build"]["problem"] == last["problem"]
    assert "could not begin" in page
    built.run(env={**away, "CBNG_STORE": "new"})
    assert not (built.path / "new").exists()


def test_summary_that_cannot_be_kept_is_said(built: Site, tmp_path: Path):
    """What was built stays built, and the exit status too; a line and a number tell of it."""
    builds = built.base / "store" / "builds"
    builds.rename(built.base / "aside")
    builds.write_text("no directory", encoding="utf-8")

    ended = built.run(env={"CBNG_METRICS_FILE": str(tmp_path / "cbng.prom")})

    assert ended.status == 0, ended
    assert re.fullmatch(NOTHING, ended.lines[0])
    assert ended.lines[1].startswith("NOT KEPT: the summary of this build: ")
    found = numbers(tmp_path / "cbng.prom")
    assert found["cbng_build_summary_kept"] == 0
    assert found["cbng_build_status"] == 0
    assert found["cbng_build_tasks up to date"] >= 14
    assert found["cbng_build_complete Alpha"] == 1
    assert found["cbng_build_failed_steps Beta"] == 0
    assert [path.name for path in tmp_path.glob("cbng*")] == ["cbng.prom"]


class Silent(DirectoryStore):
    """A store that does not answer."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"))
        self.end = threading.Event()

    def keep_build(self, build: str, summary: Any) -> None:  # noqa: ARG002 - it is a Store
        """Wait."""
        self.end.wait()


def test_silent_store_is_not_waited_for():
    """Who cannot leave a summary in time goes on."""
    store = Silent()
    with pytest.raises(StoreError, match="no answer within 0 s"):
        keep_summary(store, "x", {}, 0.01)
    store.end.set()


def test_numbers_that_cannot_be_written_name_the_file(tmp_path: Path):
    """A directory that is gone meanwhile is told by the file's name."""
    told = summary(Course(began=0, ended=2, status=0), (), {})
    with pytest.raises(StoreError, match=r"gone/cbng\.prom"):
        write_metrics(tmp_path / "gone" / "cbng.prom", told, is_kept=True)
