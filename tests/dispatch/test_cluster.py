"""
Kubernetes' API, a fake one's and a real one's; and every fault on a real cluster.

The first part runs over both, and so proves what the fake cluster answers.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cbngtrain.build import read_reference
from cbngtrain.dispatch import manifest
from cbngtrain.dispatch.attendant import Pace
from cbngtrain.dispatch.cluster import Cluster
from cbngtrain.dispatch.manifest import EDIT_SET, PART_OF, SELECTOR
from cbngtrain.dispatch.pods import PodDispatcher
from cbngtrain.dispatch.programs import Images
from cbngtrain.errors import (
    DispatchError,
    PodExists,
    QuotaExceeded,
    StepFailed,
    StepTimedOut,
    WatchExpired,
)
from cbngtrain.http_store import HttpStore
from cbngtrain.image import Image
from cbngtrain.step import Digest, Made, Step, fingerprint
from cbngtrain.store import DirectoryStore
from tests.conftest import ROOT, Site, kill_hard, wait_until
from tests.dispatch.conftest import TOKEN, inputs_of, plan_of, settings_of, step_of, stored, text_of
from tests.dispatch.fake_cluster import FakeCluster
from tests.dispatch.real import SNIPPET, Real, Releases, real_cluster, toy_core
from tests.web.conftest import Running, serving

Json = dict[str, Any]


@pytest.fixture(scope="module")
def real() -> Iterator[Real]:
    """A real cluster."""
    with real_cluster() as found:
        yield found


# What both answer ------------------------------------------------------------------------------


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
    """403, told apart from other refusals by its words."""
    if both.fake:
        both.fake.quota = {"pods": "10", "limits.memory": "8192Mi"}
    pods = [both.pod("sleep 60") for _ in range(3)]
    for pod in pods:
        pod["spec"]["containers"][0]["resources"]["limits"]["memory"] = "4096Mi"

    for pod in pods[:2]:
        both.cluster.create(pod)
    with pytest.raises(QuotaExceeded, match="exceeded quota"):
        both.cluster.create(pods[2])


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


# Faults on a real cluster ----------------------------------------------------------------------


PACE = Pace(poll=10, quota=2, again=0.5, deaf=120)


@dataclass
class Scene:
    """A file service that pods reach, and a step whose command is its input."""

    real: Real
    service: Running
    releases: Releases
    path: Path
    slug: str

    @property
    def store(self) -> DirectoryStore:
        """What the service serves."""
        return DirectoryStore(self.service.root)

    def step(self, **resources: Any) -> Step:
        """The step; small unless told otherwise."""
        small = {"memory": 100, "cpu": 0.05, **resources}
        return replace(step_of(self.slug, **small), program={"release": f"{self.releases.url}/v1"})

    def inputs(self, script: str) -> dict[str, Made]:
        """An input that says what the command does; no two are equal."""
        content = f"{script}\n# {self.slug}\n".encode()
        return inputs_of(stored(self.store, self.path, content), len(content))

    def dispatcher(
        self, step: Step, image: Image | None = None, pace: Pace = PACE, **settings: str
    ) -> PodDispatcher:
        """Who dispatches the step."""
        found = settings_of(
            self.real.kubeconfig, CBNG_STORE_URL=self.service.url, CBNG_CORE_RELEASE="v1",
            CBNG_CORE_RELEASES_URL=self.releases.url, **settings,
        )  # fmt: skip
        store = HttpStore(self.service.url, TOKEN)
        images = Images(image or self.real.image, None)
        return PodDispatcher(store, found, plan_of(step), images, pace)

    def run(self, script: str, step: Step | None = None, **options: Any) -> Step:
        """Run the step with that input; return it."""
        step = step or self.step()
        inputs = self.inputs(script)
        dispatcher = self.dispatcher(step, **options)
        try:
            dispatcher.run(step, fingerprint(step, inputs), inputs)
        finally:
            dispatcher.kill()
        assert self.store.find(fingerprint(step, inputs))
        return step

    def refusal(self, script: str, step: Step | None = None, **options: Any) -> DispatchError:
        """The error with which the step ends."""
        with pytest.raises(DispatchError) as error:
            self.run(script, step, **options)
        return error.value

    def pods(self) -> list[Json]:
        """The pods of this test."""
        found = self.real.cluster().pods()[0]
        return [pod for pod in found
                if pod["metadata"].get("annotations", {}).get(EDIT_SET) == self.slug]  # fmt: skip

    @property
    def started(self) -> int:
        """How many pods have run."""
        return self.releases.fetched.get("v1", 0)

    def wait_for_run(self, number: int = 1) -> None:
        """Return when so many pods have begun."""
        wait_until(lambda: self.started >= number, 60)


@pytest.fixture
def scene(real: Real, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """A scene of its own for each test; its pods are gone afterwards."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        env = {"FILE_API_KEY": TOKEN, "CBNG_KEEP_FREE": "0"}
        service = stack.enter_context(serving(tmp_path / "store", env, host=real.host))
        releases = Releases(real.host, {"v1": SNIPPET})
        stack.callback(releases.stop)
        made = Scene(real, service, releases, tmp_path, f"t-{secrets.token_hex(4)}")
        yield made
        cluster = real.cluster()
        for pod in made.pods():
            cluster.delete(pod)


GOOD = "echo hello; echo '# a table' > data/out.txt"


@pytest.mark.cluster
def test_step_in_a_real_pod(scene: Scene):
    """It leaves record and log, and its pod goes."""
    scene.run(GOOD)

    wait_until(lambda: scene.pods() == [], 30)
    assert scene.started == 1


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo boom; exit 3", "failed with exit code 3: boom; its log: http"),
        ("echo 'no table' > data/out.txt", "bad output: data/out.txt: is not a whole table"),
    ],
)
def test_failed_step(script: str, told: str, scene: Scene):
    """The command's code or the check, for good, with its log."""
    error = scene.refusal(script)

    assert isinstance(error, StepFailed)
    assert told in str(error)
    assert text_of(scene.store, error.log.rsplit("/", 1)[1]) is not None
    assert scene.started == 1


@pytest.mark.cluster
def test_command_that_takes_too_long(scene: Scene):
    """Its own time is up: 124."""
    error = scene.refusal("sleep 60", CBNG_STEP_TIMEOUT="2")

    assert isinstance(error, StepTimedOut)
    assert "no end after 2 s" in str(error)


@pytest.mark.cluster
def test_pod_that_takes_too_long(scene: Scene):
    """Kubernetes ends it: DeadlineExceeded; what it printed is kept."""
    error = scene.refusal("echo so far; sleep 60", pace=replace(PACE, transfer=-54))

    assert isinstance(error, StepTimedOut)
    assert "the whole pod had run out of time" in str(error)


EATS_150_MB = f"set -o pipefail; head -c 150000000 /dev/zero | tail | wc -c || exit 137; {GOOD}"


@pytest.mark.cluster
def test_out_of_memory_once(scene: Scene):
    """With twice as much it fits."""
    scene.run(EATS_150_MB)

    assert scene.started == 2


@pytest.mark.cluster
def test_out_of_memory_twice(scene: Scene):
    """Then it has failed, saying how much it had."""
    error = scene.refusal("head -c 900000000 /dev/zero | tail | wc -c")

    assert isinstance(error, StepFailed)
    assert "with 100 MiB and then 200 MiB (a pod may have 4096 MiB" in str(error)


@pytest.mark.cluster
def test_pod_deleted_while_it_runs(scene: Scene):
    """Somebody's `kubectl delete` costs a try."""

    def delete() -> None:
        scene.wait_for_run()
        for pod in scene.pods():
            scene.real.cluster().delete(pod)

    thread = threading.Thread(target=delete)
    thread.start()
    scene.run(f"[[ $(date +%s) -gt {int(time.time()) + 8} ]] || sleep 20; {GOOD}")
    thread.join()

    assert scene.started == 2


@pytest.mark.cluster
def test_image_that_does_not_exist(scene: Scene):
    """Told at once, and the pod does not stay."""
    if not (shutil.which("docker-registry") and scene.real.is_ours):
        pytest.skip("needs docker-registry beside the cluster")
    from tests.dispatch.test_registry import running_registry  # noqa: PLC0415 - only here

    with running_registry(scene.path) as address:
        image = Image.parse(f"{address}/nobody/nothing@sha256:{'0' * 64}")
        error = scene.refusal(GOOD, image=image)

    assert "its image cannot be had" in str(error)
    assert "CBNG_CORE_IMAGE" in str(error)
    wait_until(lambda: scene.pods() == [], 30)


@pytest.mark.cluster
def test_secret_that_does_not_exist(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    """Told at once, with the command that makes it."""
    reference: Any = manifest.TOKEN["valueFrom"]
    monkeypatch.setitem(reference["secretKeyRef"], "name", "toolforge.envvar.v1.nobody")

    error = scene.refusal(GOOD)

    assert 'secret "toolforge.envvar.v1.nobody" not found' in str(error)
    assert "toolforge envvars create" in str(error)


@pytest.mark.cluster
def test_unschedulable(scene: Scene):
    """The scheduler's own words, after the settings' time."""
    if not scene.real.admin:
        pytest.skip("only an administrator can close a node")
    scene.real.kubectl("cordon", "localhost")
    try:
        error = scene.refusal(GOOD, CBNG_SCHEDULE_TIMEOUT="3")
    finally:
        scene.real.kubectl("uncordon", "localhost")

    assert "no node had room for it for" in str(error)
    assert "nodes are available" in str(error)


@pytest.mark.cluster
def test_quota_that_others_have_used_up(scene: Scene):
    """The step waits, and runs when they have gone."""
    cluster = scene.real.cluster()
    helper = Both(scene.real, cluster)
    others = []
    for _ in range(2):
        pod = helper.pod("sleep 120", of="somebody")
        pod["spec"]["containers"][0]["resources"] = {
            "limits": {"cpu": "50m", "memory": "4096Mi"},
            "requests": {"cpu": "50m", "memory": "100Mi"},
        }
        others.append(cluster.create(pod))

    def leave() -> None:
        time.sleep(4)
        for pod in others:
            cluster.delete(pod)

    thread = threading.Thread(target=leave)
    thread.start()
    began = time.monotonic()
    scene.run(GOOD)
    thread.join()

    assert time.monotonic() - began > 4
    assert scene.started == 1


@pytest.mark.cluster
def test_api_server_restarted_during_the_watch(scene: Scene):
    """Pods go on without it; the watch is begun again; nothing is made twice."""
    if not scene.real.is_ours:
        pytest.skip("the API server of this cluster is not ours to stop")

    def restart() -> None:
        scene.wait_for_run()
        with scene.real.without_api():
            time.sleep(1)

    thread = threading.Thread(target=restart)
    thread.start()
    scene.run(f"sleep 6; {GOOD}")
    thread.join()

    assert scene.started == 1


@pytest.mark.cluster
def test_file_service_down_for_twenty_seconds(real: Real, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch):  # fmt: skip
    """Pod and coordinator wait for it; nothing is made twice."""
    monkeypatch.chdir(tmp_path)
    env = {"FILE_API_KEY": TOKEN, "CBNG_KEEP_FREE": "0"}
    releases = Releases(real.host, {"v1": SNIPPET})
    with ExitStack() as stack:
        stack.callback(releases.stop)
        first = stack.enter_context(ExitStack())
        service = first.enter_context(serving(tmp_path / "store", env, host=real.host))
        scene = Scene(real, service, releases, tmp_path, f"t-{secrets.token_hex(4)}")

        def interrupt() -> None:
            scene.wait_for_run()
            time.sleep(1)
            first.close()
            time.sleep(20)
            again = serving(tmp_path / "store", env, service.port, real.host)
            stack.enter_context(again)

        thread = threading.Thread(target=interrupt)
        thread.start()
        scene.run(f"sleep 3; {GOOD}")
        thread.join()

    assert scene.started == 1


@pytest.mark.cluster
def test_file_service_that_is_full(real: Real, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """507 is infrastructure: tried again, then told."""
    monkeypatch.chdir(tmp_path)
    env = {"FILE_API_KEY": TOKEN, "CBNG_KEEP_FREE": str(2**50)}
    releases = Releases(real.host, {"v1": SNIPPET})
    with serving(tmp_path / "store", env, host=real.host) as service:
        scene = Scene(real, service, releases, tmp_path, f"t-{secrets.token_hex(4)}")
        error = scene.refusal(GOOD)
        for pod in scene.pods():
            real.cluster().delete(pod)
    releases.stop()

    assert not isinstance(error, StepFailed)
    assert "was interrupted 4 times" in str(error)
    assert "507" in str(error)
    assert scene.started == 4


@pytest.mark.cluster
def test_two_coordinators_at_once(scene: Scene):
    """One pod for both, and both are done."""
    step, inputs = scene.step(), scene.inputs(f"sleep 2; {GOOD}")
    problems: list[BaseException] = []

    def run() -> None:
        try:
            scene.dispatcher(step).run(step, fingerprint(step, inputs), inputs)
        except DispatchError as error:
            problems.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert problems == []
    assert scene.started == 1


# Real coordinators ------------------------------------------------------------------------------


@dataclass
class Coordinator:
    """A checkout whose doit makes the networks of two edit sets with a slow core in small."""

    site: Site
    scene: Scene

    @property
    def env(self) -> dict[str, str]:
        """Its environment."""
        return {
            "CBNG_CORE": "",
            "CBNG_DISPATCH": "pods",
            "CBNG_STORE_URL": self.scene.service.url,
            "CBNG_CORE_IMAGE": self.scene.real.image.pinned,
            "CBNG_CORE_RELEASE": "slow",
            "CBNG_CORE_RELEASES_URL": self.scene.releases.url,
            "CBNG_CPU_SCALE": "0.2",
            "CBNG_MEMORY_SCALE": "0.2",
            "FILE_API_KEY": TOKEN,
            "KUBECONFIG": self.scene.real.kubeconfig,
        }

    def start(self) -> "subprocess.Popen[str]":
        """Begin to build."""
        return self.site.start("ann:alpha", env=self.env)

    @property
    def started(self) -> int:
        """How many pods have run."""
        return self.scene.releases.fetched.get("slow", 0)

    def pods(self) -> list[Json]:
        """Its pods."""
        found = self.scene.real.cluster().pods()[0]
        return [pod for pod in found
                if pod["metadata"].get("annotations", {}).get(EDIT_SET) == "alpha"]  # fmt: skip


@pytest.fixture
def coordinator(scene: Scene, tmp_path: Path) -> Iterator[Coordinator]:
    """A coordinator that has not begun."""
    scene.releases.programs = {"slow": toy_core(3)}
    (base := tmp_path / "coordinator").mkdir()
    made = Coordinator(Site(base), scene)
    yield made
    for pod in made.pods():
        scene.real.cluster().delete(pod)


@pytest.mark.cluster
def test_killed_coordinator_is_followed_by_another(coordinator: Coordinator):
    """The next one attaches to what runs: nothing is trained twice."""
    process = coordinator.start()
    wait_until(lambda: coordinator.started == 1, 60)
    kill_hard(process)

    out, _ = coordinator.start().communicate(timeout=120)

    assert "Done:" in out, out
    assert coordinator.started == 5, "five steps up to the network, one pod each"


@pytest.mark.cluster
def test_stopped_coordinator_leaves_its_pods(coordinator: Coordinator):
    """SIGTERM: it ends in time, its pod goes on."""
    process = coordinator.start()
    wait_until(lambda: coordinator.started == 1, 60)
    began = time.monotonic()

    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)

    assert process.returncode == 143, out
    assert time.monotonic() - began < 10
    assert len(coordinator.pods()) == 1


@pytest.mark.cluster
def test_second_ctrl_c_deletes_the_pods(coordinator: Coordinator):
    """The first says so."""
    coordinator.scene.releases.programs = {"slow": toy_core(60)}
    process = coordinator.start()
    wait_until(lambda: coordinator.started == 1, 60)

    process.send_signal(signal.SIGINT)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)

    assert process.returncode == 130, out
    assert "Ctrl-C again within" in out
    assert "is deleted" in out
    wait_until(lambda: coordinator.pods() == [], 60)


@pytest.mark.cluster
def test_pods_are_listed_and_pruned(coordinator: Coordinator):
    """What has ended goes, what runs for the plan stays."""
    step = replace(coordinator.scene.step(), slug="alpha")
    error = None
    try:
        coordinator.scene.run("exit 1", step)
    except StepFailed as found:
        error = found
    assert error

    ended = coordinator.site.run("cbng-trainer", "pods", "--prune", env=coordinator.env)

    assert ended.status == 0, ended
    (line,) = [line for line in ended.lines if " s  snippet:alpha as " in line]
    assert "(ended)" in line
    wait_until(lambda: coordinator.pods() == [], 30)


# The sample -------------------------------------------------------------------------------------


def doit(path: Path, env: dict[str, str]) -> str:
    """What doit says of a build there."""
    ended = subprocess.run([sys.executable, "-m", "doit"], cwd=path, env=env, check=False,
                           capture_output=True, text=True, timeout=600)  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def meanings(path: Path) -> dict[str, Digest]:
    """What the references of a checkout mean, by path."""
    references = sorted(each for each in path.glob("build/*/**/*") if each.is_file())
    made = {str(each.relative_to(path)): read_reference(each) for each in references}
    return {name: each.artifact.meaning for name, each in made.items() if each}


@pytest.mark.cluster
def test_sample_built_by_pods_is_the_sample_built_here(scene: Scene):
    """
    All three edit sets: every artifact means the same, networks too; a second build makes no pod,
    and neither does a coordinator that knows nothing.
    """
    if not scene.real.is_ours:
        pytest.skip("the engine's image is in our own cluster only")
    checkouts = {name: scene.path / name for name in ("pods", "here", "empty")}
    for path in checkouts.values():
        path.mkdir()
        shutil.copy(ROOT / "dodo.py", path)
        shutil.copytree(ROOT / "sample", path / "sample")
    here = {"PATH": os.environ["PATH"], "TMPDIR": str(scene.path), "HOME": str(scene.path)}  # noqa: TID251
    elsewhere = {
        **here, "CBNG_DISPATCH": "pods", "CBNG_STORE_URL": scene.service.url,
        "CBNG_CORE_IMAGE": scene.real.image.pinned, "FILE_API_KEY": TOKEN,
        "KUBECONFIG": scene.real.kubeconfig, "CBNG_CPU_SCALE": "0.5",
    }  # fmt: skip

    first = doit(checkouts["pods"], elsewhere)
    _, version = scene.real.cluster().pods()
    second = doit(checkouts["pods"], elsewhere)
    third = doit(checkouts["empty"], elsewhere)
    doit(checkouts["here"], here)

    assert first.count("\nbuilt ") >= 17
    assert second.startswith("Nothing to do: ")
    assert "built" not in third
    made = [each["metadata"]["name"] for kind, each in scene.real.cluster().watch(version, 1)
            if kind == "ADDED"]  # fmt: skip
    assert made == []
    assert meanings(checkouts["pods"]) == meanings(checkouts["here"])
    assert any(name.endswith("main_ann.fann") for name in meanings(checkouts["pods"]))
