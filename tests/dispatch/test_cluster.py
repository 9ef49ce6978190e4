"""
Kubernetes' API, a fake one's and a real one's.

These tests run over both, and so prove what the fake cluster answers.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cbngtrain.dispatch.cluster import Cluster
from cbngtrain.dispatch.manifest import PART_OF, SELECTOR
from cbngtrain.errors import (
    DispatchError,
    PodExists,
    QuotaExceeded,
    WatchExpired,
)
from tests.conftest import wait_until
from tests.dispatch.fake_cluster import FakeCluster, Json
from tests.dispatch.real import Real


class Both:
    """A fake cluster or a real one, with pods that print a line and end, or go on."""

    def __init__(self, there: Real | FakeCluster, cluster: Cluster) -> None:
        self.cluster = cluster
        self.fake = there if isinstance(there, FakeCluster) else None
        self.names: list[str] = []
        self._real = there if isinstance(there, Real) else None
        self._image = self._real.image.pinned if self._real else "a.example/b"

    def forget(self) -> None:
        """Have the API forget what has happened; a real one does when it is started again."""
        if self.fake:
            self.fake.compact()
        elif self._real and self._real.is_ours:
            with self._real.without_api():
                pass
            self.cluster.pods()
        else:
            pytest.skip("the API server of this cluster is not ours to restart")

    def create_when_there_is_room(self, pod: Json) -> Json:
        """Create *pod* once the quota allows it: it counts afresh every five minutes at least."""
        made: list[Json] = []

        def is_made() -> bool:
            with suppress(QuotaExceeded):
                made.append(self.cluster.create(pod))
            return bool(made)

        wait_until(is_made, 330)
        return made[0]

    def pod(self, script: str = "echo hello", **labels: str) -> Json:
        """A pod that is not made yet."""
        name = f"cbng-both-{secrets.token_hex(6)}"
        self.names.append(name)
        resources = {"cpu": "50m", "memory": "100Mi"}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels or dict(PART_OF)},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "step", "image": self._image, "command": ["bash", "-c", script],
                    "resources": {"limits": resources, "requests": resources},
                }],
            },
        }  # fmt: skip

    def state(self, name: str) -> Json:
        """The state of a pod's container."""
        pod = self.cluster.pod(name)
        assert pod
        states = pod["status"].get("containerStatuses") or [{}]
        found: Json = states[0].get("state", {})
        return found

    def ended(self, name: str) -> Json:
        """How a pod's container ended, once it has."""
        wait_until(lambda: "terminated" in self.state(name), 60)
        found: Json = self.state(name)["terminated"]
        return found


def play(cluster: FakeCluster, pod: Json) -> None:
    """Do what a node does with the pods of `Both`."""
    name, script = pod["metadata"]["name"], pod["spec"]["containers"][0]["command"][2]
    cluster.run(name)
    if script.startswith("echo "):
        cluster.log(name, script.removeprefix("echo "))
        cluster.end(name, 0)
    elif script.startswith("exit "):
        cluster.end(name, int(script.removeprefix("exit ")))


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.cluster)])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Both]:
    """One after the other."""
    if request.param == "fake":
        fake = FakeCluster(play=play)
        made = Both(fake, Cluster(fake.start(tmp_path), ""))
        yield made
        fake.stop()
        return
    there: Real = request.getfixturevalue("real")
    made = Both(there, there.cluster())
    yield made
    for name in made.names:
        if pod := made.cluster.pod(name):
            made.cluster.delete(pod)
    wait_until(lambda: not any(made.cluster.pod(name) for name in made.names), 120)


def test_both_make_a_pod_and_run_it(both: Both):
    """What was made is there, gets a uid, ends, and has a log with times."""
    pod = both.cluster.create(both.pod("echo hello"))
    name = pod["metadata"]["name"]

    assert pod["metadata"]["uid"]
    assert pod["status"]["phase"] == "Pending"
    assert both.ended(name)["exitCode"] == 0
    (line,) = both.cluster.log(name, follow=False)
    at, _, text = line.partition(b" ")
    assert text == b"hello"
    assert at.startswith(b"20")
    assert at.endswith(b"Z")
    assert list(both.cluster.log(name, follow=True)) == [line]


def test_both_tell_how_a_pod_ended(both: Both):
    """Exit code, reason and phase."""
    name = both.cluster.create(both.pod("exit 3"))["metadata"]["name"]

    assert both.ended(name)["exitCode"] == 3
    assert both.ended(name)["reason"] == "Error"
    wait_until(lambda: (both.cluster.pod(name) or {})["status"]["phase"] == "Failed", 30)


def test_both_refuse_a_second_pod_of_a_name(both: Both):
    """409: whoever comes second learns it."""
    wanted = both.pod("sleep 60")
    both.cluster.create(wanted)

    with pytest.raises(PodExists, match="already exists"):
        both.cluster.create(wanted)


def test_both_refuse_what_is_no_pod(both: Both):
    """422, told at once, in the API's words."""
    wanted = both.pod()
    wanted["metadata"]["name"] = "No Name"

    with pytest.raises(DispatchError, match=r'answers 422: Pod "No Name" is invalid'):
        both.cluster.create(wanted)


def test_both_know_nothing_of_a_pod_that_is_not_there(both: Both):
    """404 is an answer."""
    assert both.cluster.pod("cbng-nobody") is None
    both.cluster.delete({"metadata": {"name": "cbng-nobody", "uid": "u"}})
    with pytest.raises(DispatchError, match="answers 404"):
        list(both.cluster.log("cbng-nobody", follow=True))


def test_both_delete_exactly_the_pod_that_was_meant(both: Both):
    """Another uid is another pod: it is let be."""
    pod = both.cluster.create(both.pod("sleep 60"))
    name = pod["metadata"]["name"]

    both.cluster.delete({"metadata": {"name": name, "uid": "another"}})
    time.sleep(0.2)
    there = both.cluster.pod(name)
    assert there
    assert "deletionTimestamp" not in there["metadata"]
    both.cluster.delete(pod)
    wait_until(lambda: both.cluster.pod(name) is None, 60)


def test_both_list_what_is_ours(both: Both):
    """By the label; an empty selector lists all."""
    ours = both.cluster.create(both.pod("sleep 60"))["metadata"]["name"]
    other = both.cluster.create(both.pod("sleep 60", of="somebody"))["metadata"]["name"]

    found = {pod["metadata"]["name"] for pod in both.cluster.pods(SELECTOR)[0]}
    everything = {pod["metadata"]["name"] for pod in both.cluster.pods("")[0]}
    assert ours in found
    assert other not in found
    assert {ours, other} <= everything


def test_both_tell_what_happens(both: Both):
    """A watch from a list's version gives all that came after, and ends when it should."""
    _, version = both.cluster.pods()
    pod = both.cluster.create(both.pod("echo hello"))
    name = pod["metadata"]["name"]
    both.ended(name)
    both.cluster.delete(pod)
    wait_until(lambda: both.cluster.pod(name) is None, 60)

    kinds = [
        kind for kind, each in both.cluster.watch(version, 2) if each["metadata"]["name"] == name
    ]

    assert kinds[0] == "ADDED"
    assert "MODIFIED" in kinds
    assert kinds[-1] == "DELETED"


def test_both_expire(both: Both):
    """A version from long ago is refused: 410, as an answer or as an event."""
    both.cluster.create(both.pod())
    both.forget()

    with pytest.raises(WatchExpired):
        list(both.cluster.watch("1", 2))


def test_both_refuse_beyond_the_quota(both: Both):
    """403, told apart from other refusals by its words.

    A real quota may still count pods that are gone, and so refuse one sooner.
    """
    if both.fake:
        both.fake.quota = {"pods": "10", "limits.memory": "8192Mi"}
    pods = [both.pod("sleep 60") for _ in range(3)]
    for pod in pods:
        pod["spec"]["containers"][0]["resources"]["limits"]["memory"] = "4096Mi"

    def create() -> None:
        for pod in pods:
            both.cluster.create(pod)

    with pytest.raises(QuotaExceeded, match="exceeded quota"):
        create()


def test_both_tell_their_limits(both: Both):
    """Quotas and limit ranges have the shape that is read."""
    if both.fake:
        both.fake.quota = {"pods": "10", "limits.memory": "8Gi"}
        both.fake.limits = {"cpu": "1", "memory": "4Gi"}

    hard = both.cluster.quotas()[0]["spec"]["hard"]
    most = both.cluster.limit_ranges()[0]["spec"]["limits"][0]["max"]
    assert hard["pods"] == "10"
    assert hard["limits.memory"] == "8Gi"
    assert most == {"cpu": "1", "memory": "4Gi"}
