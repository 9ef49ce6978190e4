"""Tasks: what doit is given to do, and how it is told to."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain

from cbngtrain import tasks
from cbngtrain.build import Build
from cbngtrain.plan import EditSet, Programs, plan
from cbngtrain.settings import Settings
from cbngtrain.step import Digest, Fingerprint, Made, Step
from cbngtrain.store import DirectoryStore
from tests.conftest import dump, edits
from tests.scribe import Scribe

NAMES = ("one", "two", "three")
PODS = {
    "CBNG_DISPATCH": "pods",
    "CBNG_STORE_URL": "http://198.51.100.1:1",
    "CBNG_CORE_IMAGE": "127.0.0.1/core",
    "FILE_API_KEY": "secret",
}
DATABASES = {"bayes_db", "two_bayes_db"}


class Gathering(Scribe):
    """A dispatcher in which each database waits until all databases of all edit sets do."""

    def __init__(self, store: DirectoryStore, directory: Path) -> None:
        super().__init__(store, directory)
        self._all = threading.Barrier(len(NAMES) * len(DATABASES))

    def run(self, step: Step, key: Fingerprint, inputs: Mapping[str, Made]) -> None:
        """See `Dispatcher`."""
        if step.recipe.name in DATABASES:
            self._all.wait(timeout=10)
        super().run(step, key, inputs)


def test_dispatcher_sees_every_step_that_could_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Elsewhere than here, no step waits for a thread: the dispatcher decides who is next."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        (tmp_path / name).write_text(dump(edits(1, 6, name)), encoding="utf-8")
    store = DirectoryStore(tmp_path / "store")
    image = Programs({"image": "image"}, Digest("b" * 64), {"image": "image"})
    sets = [EditSet(name, name, f"file:{tmp_path}/{name}", None) for name in NAMES]
    gathering = Gathering(store, tmp_path)
    build = Build(plan(sets, image), store, gathering, Settings.from_env(PODS))
    namespace = {
        "DOIT_CONFIG": {**tasks.doit_config(build), "outfile": os.devnull},
        "task_build": lambda: tasks.as_doit_tasks(build, runs=True),
    }
    wanted = [f"{database}:{name}" for name in NAMES for database in sorted(DATABASES)]

    assert DoitMain(ModuleTaskLoader(namespace)).run(["run", *wanted]) == 0
    assert set(wanted) < set(gathering.ran)
