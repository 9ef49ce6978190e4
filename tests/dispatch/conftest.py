"""
What the tests of dispatching begin with: a pod's bash, jobs, a fake cluster, or a real one.

In both clusters there is one step, whose command is its input.
"""

import logging
import secrets
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cbngtrain.canonical import digest_of
from cbngtrain.dispatch.attendant import Pace
from cbngtrain.dispatch.manifest import EDIT_SET, FINGERPRINT
from cbngtrain.dispatch.pods import PodDispatcher
from cbngtrain.dispatch.programs import Images
from cbngtrain.errors import DispatchError
from cbngtrain.http_store import HttpStore
from cbngtrain.image import Image
from cbngtrain.plan import EditSet, Plan
from cbngtrain.settings import Settings
from cbngtrain.step import (
    Artifact,
    Digest,
    Fingerprint,
    Leaf,
    Made,
    Recipe,
    Record,
    Resources,
    Step,
    fingerprint,
)
from cbngtrain.store import DirectoryStore, Store
from cbngtrain.toolforge_api import ToolforgeApi
from tests.conftest import wait_until
from tests.dispatch.fake_cluster import FakeCluster, Json
from tests.dispatch.jobs_standin import TOOL, JobsStandin, jobs_standin
from tests.dispatch.places import WELL, Pod
from tests.dispatch.real import SNIPPET, Real, Releases, real_cluster
from tests.dispatch.trainer import Trainer
from tests.web.conftest import TOKEN as STORE_TOKEN
from tests.web.conftest import Running, serving, serving_anew

TOKEN = "test-write-token"  # what the test cluster's secret holds
CORE = Image.parse("tools-harbor.wmcloud.org/tool-cluebotng/core@sha256:" + "c" * 64)
MADE = b"# a table\n"
BRISK = Pace(look=0.02, poll=0.3, deaf=3, gone=5, quota=0.1, again=0.01, transfer=600)

RECIPE = Recipe(
    name="snippet",
    doc="what its input says",
    command=("cluebotng", "edits.xml"),
    reads={"edits.xml": "train.xml"},
    leaves=(Leaf("data/out.txt", "out.txt", "raw", "table"),),
    resources=Resources(memory=128, cpu=0.1, seconds=60),
)


def step_of(slug: str = "alpha", program: str = "release", **resources: Any) -> Step:
    """The step for an edit set, with other resources perhaps."""
    recipe = replace(RECIPE, resources=replace(RECIPE.resources, **resources))
    what = {"release": "http://198.51.100.1/v1"} if program == "release" else {"image": CORE.pinned}
    return Step(recipe=recipe, slug=slug, program=what, conf=None, parameters={})


def plan_of(*steps: Step) -> Plan:
    """A plan of one step per edit set."""
    sets = tuple(EditSet(step.slug, step.slug, "file:train", None) for step in steps)
    return Plan(sets, {step.slug: (step,) for step in steps})


def stored(store: Store, directory: Path, content: bytes) -> Digest:
    """Store a blob."""
    path = directory / f"blob-{threading.get_ident()}"
    path.write_bytes(content)
    return store.add(path)


def inputs_of(digest: Digest, size: int) -> dict[str, Made]:
    """What the step reads."""
    by = Fingerprint(Digest("0" * 64))
    return {"edits.xml": Made(Artifact("train.xml", digest, digest, size), by)}


def settings_of(kubeconfig: str, **more: str) -> Settings:
    """Settings for steps in pods."""
    return Settings.from_env(
        {
            "CBNG_DISPATCH": "pods",
            "CBNG_STORE_URL": "http://198.51.100.1:1",
            "CBNG_CORE_IMAGE": str(CORE),
            "FILE_API_KEY": TOKEN,
            "KUBECONFIG": kubeconfig,
            **more,
        }
    )


@dataclass
class Stage:
    """A store in a directory, a fake cluster, and who dispatches to it."""

    path: Path
    cluster: FakeCluster
    store: DirectoryStore
    kubeconfig: str

    def __post_init__(self) -> None:
        self.dispatchers: list[PodDispatcher] = []

    def dispatcher(self, *steps: Step, pace: Pace = BRISK, **settings: str) -> PodDispatcher:
        """Who dispatches *steps*."""
        made = PodDispatcher(
            self.store,
            settings_of(self.kubeconfig, **settings),
            plan_of(*(steps or (step_of(),))),
            Images(CORE, None),
            pace,
        )
        self.dispatchers.append(made)
        return made

    def inputs(self, text: str = "input") -> dict[str, Made]:
        """A stored input."""
        content = text.encode()
        return inputs_of(stored(self.store, self.path, content), len(content))

    def leave_record(self, step: Step, inputs: dict[str, Made], note: str = "log") -> None:
        """Do what the script of a pod does at a good end."""
        made = stored(self.store, self.path, MADE)
        log = stored(self.store, self.path, note.encode())
        artifact = Artifact("out.txt", made, made, len(MADE))
        key = fingerprint(step, inputs)
        self.store.keep(Record(key, (artifact,), log, step.parts(inputs), inputs))

    def succeed(self, step: Step, inputs: dict[str, Made]) -> Callable[[FakeCluster, Json], None]:
        """A pod that does what it should."""

        def play(cluster: FakeCluster, pod: Json) -> None:
            name = pod["metadata"]["name"]
            cluster.run(name)
            cluster.log(name, "at work", "done")
            self.leave_record(step, inputs)
            cluster.end(name, 0, '{"code":0}')

        return play


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
          caplog: pytest.LogCaptureFixture) -> Iterator[Stage]:  # fmt: skip
    """A fake cluster, and all that is logged."""
    caplog.set_level(logging.DEBUG, "cbngtrain")
    monkeypatch.chdir(tmp_path)
    cluster = FakeCluster()
    made = Stage(tmp_path, cluster, DirectoryStore(tmp_path / "store"), cluster.start(tmp_path))
    yield made
    for dispatcher in made.dispatchers:
        dispatcher.stopping.begin()
    cluster.stop()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A file service."""
    with serving_anew(tmp_path_factory) as running:
        yield running


@pytest.fixture
def pod(tmp_path: Path, service: Running) -> Pod:
    """A place to run scripts in, with a store in which nothing is."""
    for folder in ("cas", "ac"):
        shutil.rmtree(service.root / folder, ignore_errors=True)
    return Pod(tmp_path, service)


@pytest.fixture
def standin(pod: Pod, tmp_path: Path) -> Iterator[JobsStandin]:
    """Toolforge; its jobs have a core in their workspace that has nothing to complain about."""
    pod.program("cluebotng", WELL)
    with jobs_standin(tmp_path, pod.workspace, FILE_API_KEY=STORE_TOKEN) as standin:
        yield standin


@pytest.fixture
def trainer(pod: Pod, standin: JobsStandin) -> Iterator[Trainer]:
    """A coordinator."""
    with ToolforgeApi(standin.url, TOOL, None, sleep=lambda _: None) as api:
        yield Trainer(pod, standin, api)


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """A PATH on which there are bash, coreutils and curl, and nothing else."""
    path = tmp_path / "bare"
    path.mkdir()
    owned = subprocess.run(
        ["dpkg", "-L", "coreutils"], check=True, capture_output=True, text=True
    ).stdout.split()
    for program in (*(each for each in owned if "/bin/" in each), "/bin/bash", "/usr/bin/curl"):
        (path / Path(program).name).symlink_to(program)
    return str(path)


def key_of(pod: Json) -> str:
    """The fingerprint that a pod works for."""
    return str(pod["metadata"]["annotations"][FINGERPRINT])


def text_of(store: DirectoryStore, digest: str) -> str:
    """A blob's text."""
    path = store.path(Digest(digest))
    assert digest_of(path) == digest
    return path.read_text(encoding="utf-8")


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
            dispatcher.stopping.begin()
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

    def clear(self) -> None:
        """Delete the pods of this test, and wait until their room is another's."""
        cluster = self.real.cluster()
        for pod in self.pods():
            cluster.delete(pod)
        wait_until(lambda: self.pods() == [], 120)

    @property
    def started(self) -> int:
        """How many pods have run."""
        return self.releases.fetched.get("v1", 0)

    def wait_for_run(self, number: int = 1) -> None:
        """Return when so many pods have begun."""
        wait_until(lambda: self.started >= number, 60)


@pytest.fixture(scope="session")
def real() -> Iterator[Real]:
    """A real cluster."""
    with real_cluster() as found:
        yield found


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
        made.clear()
