"""Whole builds by pods of a real cluster: killed, stopped, continued; and the sample."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cbngtrain.build import read_reference
from cbngtrain.dispatch.manifest import EDIT_SET
from cbngtrain.errors import (
    StepFailed,
)
from cbngtrain.step import Digest
from tests.conftest import ROOT, Site, kill_hard, wait_until
from tests.dispatch.conftest import TOKEN, Scene
from tests.dispatch.fake_cluster import Json
from tests.dispatch.real import SNIPPET, toy_core

pytestmark = pytest.mark.cluster


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
    scene.releases.programs = {"slow": toy_core(3), "v1": SNIPPET}
    (base := tmp_path / "coordinator").mkdir()
    made = Coordinator(Site(base), scene)
    yield made
    for pod in made.pods():
        scene.real.cluster().delete(pod)


def test_killed_coordinator_is_followed_by_another(coordinator: Coordinator):
    """The next one attaches to what runs: nothing is trained twice."""
    process = coordinator.start()
    wait_until(lambda: coordinator.started >= 1, 60)
    kill_hard(process)

    out, _ = coordinator.start().communicate(timeout=120)

    assert "Done:" in out, out
    assert coordinator.started == 5, "five steps up to the network, one pod each"


def test_stopped_coordinator_leaves_its_pods(coordinator: Coordinator):
    """SIGTERM: it ends in time, its pod goes on."""
    process = coordinator.start()
    wait_until(lambda: coordinator.started >= 1, 60)
    began = time.monotonic()

    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)

    assert process.returncode == 143, out
    assert time.monotonic() - began < 10
    assert len(coordinator.pods()) == 1


def test_second_ctrl_c_deletes_the_pods(coordinator: Coordinator):
    """The first says so."""
    coordinator.scene.releases.programs = {"slow": toy_core(60)}
    process = coordinator.start()
    wait_until(lambda: coordinator.started >= 1, 60)

    process.send_signal(signal.SIGINT)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)

    assert process.returncode == 130, out
    assert "Ctrl-C again within" in out
    assert "is deleted" in out
    assert all("deletionTimestamp" in pod["metadata"] for pod in coordinator.pods())


def test_pods_are_listed_and_pruned(coordinator: Coordinator):
    """What has ended is told, and the cluster is told to delete it."""
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
    assert all("deletionTimestamp" in pod["metadata"] for pod in coordinator.pods())


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


def test_sample_built_by_pods_is_the_sample_built_here(scene: Scene):
    """
    All three edit sets: every artifact means the same, networks too; a second build makes no pod,
    and neither does a coordinator that knows nothing.
    """
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
