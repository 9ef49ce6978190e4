"""A pod's log, followed through broken connections."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cbngtrain.dispatch.cluster import Cluster
from cbngtrain.dispatch.pod_log import PodLog
from tests.conftest import wait_until
from tests.dispatch.fake_cluster import FakeCluster


@dataclass
class Followed:
    """A pod that prints, and what was told of it."""

    cluster: FakeCluster
    path: Path
    kubeconfig: str
    told: list[str] = field(default_factory=list)

    def log(self, *secrets: str) -> PodLog:
        """Its log, followed."""
        metadata = {"name": "cbng-a"}
        self.cluster.create({"metadata": metadata, "spec": {"containers": [{}]}})
        self.cluster.run("cbng-a")
        made = PodLog(
            Cluster(self.kubeconfig, ""), "cbng-a", self.path / "log", self.told.append, secrets
        )
        made.start()
        return made

    def says(self, *lines: str, at: str = "") -> None:
        """Print, and wait until it is told."""
        self.cluster.log("cbng-a", *lines, at=at)
        wait_until(lambda: self.told[-1:] == [*lines[-1:]])

    def cut(self) -> None:
        """Break the connection, and wait until there is another."""
        before = self.asked
        self.cluster.cut()
        wait_until(lambda: self.asked > before)

    @property
    def asked(self) -> int:
        """How often the log was asked for."""
        return sum("/log?" in request for request in self.cluster.requests)


@pytest.fixture
def followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Followed]:
    """A pod that has not begun; a connection that breaks is made again soon."""
    monkeypatch.setattr("cbngtrain.dispatch.pod_log._PAUSE", 0.05)
    cluster = FakeCluster()
    yield Followed(cluster, tmp_path, cluster.start(tmp_path))
    cluster.stop()


def test_no_line_is_lost_and_none_told_twice(followed: Followed):
    """However often the connection breaks; and the whole log is read once more at the end."""
    log = followed.log()
    followed.says("one", "two")
    followed.cut()
    followed.says("three", "three too")
    followed.cut()
    followed.says("four")
    followed.cluster.end("cbng-a", 0)

    whole = log.finish(5)

    assert followed.told == ["one", "two", "three", "three too", "four"]
    assert whole.read_text() == "one\ntwo\nthree\nthree too\nfour\n"


def test_what_was_followed_is_kept_where_the_pod_is_gone(followed: Followed):
    """Who deletes a pod does not take along what was seen of its log."""
    log = followed.log()
    followed.says("one", "two")
    followed.cluster.remove("cbng-a")

    assert log.finish(5).read_text() == "one\ntwo\n"


def test_times_may_lack_their_last_zeros(followed: Followed):
    """Some runtimes write .66 for .660000000, which is before .6601."""
    log = followed.log()
    followed.says("one", at="2026-01-01T00:00:00.66Z")
    followed.says("two", at="2026-01-01T00:00:00.6601Z")
    followed.cut()
    followed.says("three", at="2026-01-01T00:00:00.67Z")
    followed.cluster.end("cbng-a", 0)

    log.let_end(5)

    assert followed.told == ["one", "two", "three"]


def test_secrets_are_in_no_line(followed: Followed):
    """Neither in what is told nor in what is kept."""
    log = followed.log("hunter22")
    followed.cluster.log("cbng-a", "it is hunter22")
    wait_until(lambda: followed.told == ["it is [secret]"])
    followed.cluster.end("cbng-a", 0)

    assert log.finish(5).read_text() == "it is [secret]\n"
