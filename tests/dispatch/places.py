"""
What the tests of dispatching share: steps, a file service, and workspaces as images have them.

A workspace has the core's four programs and ``conf/``. In `engine_workspace` they are the embedded
engine; in `Pod` they are what a test says, run by a bash as a pod's would.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cbngtrain.dispatch.local import conf_digest
from cbngtrain.dispatch.script import Place, script
from cbngtrain.dump import canonicalise
from cbngtrain.recipes import RECIPES, TRIAL
from cbngtrain.step import (
    Artifact,
    Digest,
    Fingerprint,
    Made,
    Recipe,
    Record,
    Step,
    fingerprint,
    fingerprint_of,
)
from cbngtrain.store import DirectoryStore
from tests.conftest import PROGRAMS, ROOT, dump, edits
from tests.web.conftest import TOKEN, Running

CHAIN = RECIPES[: RECIPES.index(TRIAL) + 1]
"""The steps from the edit sets to the trial, all of the core."""

ENGINE = ROOT / "cbngtrain" / "engine"
SOURCE = fingerprint_of({"source": "of the tests"})  # what made the edit sets

WELL = (
    "printf '0 _EDIT_TOTALS\\n0 a\\n1 _EDIT_TOTALS\\n' >data/main_bayes_train.dat\n"
    "printf '0 _EDIT_TOTALS\\n' >data/two_bayes_train.dat\necho done"
)
"""What a core does that has nothing to complain about, as a step of the training words."""

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # noqa: TID251 - a test's own


def step_of(recipe: Recipe, slug: str = "a-set", **program: str) -> Step:
    """A step of *recipe*, with the recipe's own parameters."""
    return Step(
        recipe=recipe,
        slug=slug,
        program=program or {"core": "sha256:" + "0" * 64},
        conf=conf_digest(ENGINE / "conf") if recipe.reads_conf else None,
        parameters=recipe.parameters,
    )


def recipe(name: str) -> Recipe:
    """The recipe called *name*."""
    return next(each for each in RECIPES if each.name == name)


STEP = step_of(recipe("bayes_train"))
"""A step that `WELL` is enough for."""


def engine_workspace(path: Path) -> Path:
    """Make a workspace with the embedded engine under the core's command names."""
    path.mkdir()
    for name in PROGRAMS:
        (path / name).symlink_to(ENGINE / "bin" / name)
    (path / "conf").mkdir()
    for source in (ENGINE / "conf").iterdir():
        (path / "conf" / source.name).write_bytes(source.read_bytes())
    return path


def add(store: DirectoryStore, name: str, path: Path) -> Made:
    """Store *path* as the artifact *name* of a source."""
    digest = store.add(path)
    return Made(Artifact(name, digest, digest, path.stat().st_size), SOURCE)


def add_edit_sets(store: DirectoryStore, directory: Path, number: int = 60) -> dict[str, Made]:
    """Store a training and a trial set of so many edits, in canonical form."""
    found = {}
    for first, role in enumerate(("train", "trial")):
        raw, path = directory / f"{role}.raw", directory / f"{role}.xml"
        raw.write_text(dump(edits(1 + first * number, number)), encoding="utf-8")
        canonicalise(raw, path, "url")
        found[path.name] = add(store, path.name, path)
    return found


@dataclass
class EndedPod:
    """How a script ended: its exit code, what it told as JSON, and all that it printed."""

    code: int
    told: Mapping[str, Any]
    out: str


def failed(ended: EndedPod) -> tuple[int, object]:
    """The exit code, and the command's."""
    return ended.code, ended.told["exit"]


class Pod:
    """A place to run scripts in as in a pod, with a file service."""

    def __init__(self, path: Path, service: Running) -> None:
        self.path = path
        self.workspace = path / "workspace"
        self.service = service
        self.store = DirectoryStore(service.root)
        self.workspace.mkdir(exist_ok=True)
        self._made: dict[str, Made] = {}

    def program(self, name: str, text: str) -> None:
        """Install a program of the core, which is this bash."""
        path = self.workspace / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        path.chmod(0o755)

    def inputs(self, step: Step) -> dict[str, Made]:
        """What *step* reads: the edit sets, and for all else a few bytes."""
        if not self._made:
            self._made = add_edit_sets(self.store, self.path, number=3)
        for name in step.recipe.reads.values():
            if name not in self._made:
                path = self.path / "input"
                path.write_text(f"this is {name}\n", encoding="utf-8")
                self._made[name] = add(self.store, name, path)
        return {path: self._made[name] for path, name in step.recipe.reads.items()}

    def script(self, step: Step, patience: int = 20, **place: Any) -> str:
        """The script of *step*, which runs here."""
        inputs = self.inputs(step)
        place = {"store_url": self.service.url, "timeout": 60, **place}
        text = script(
            step, fingerprint(step, inputs), inputs, Place(workspace=str(self.workspace), **place)
        )
        assert "\npatience=120\n" in text
        return text.replace("\npatience=120\n", f"\npatience={patience}\n")

    def start(self, text: str, env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        """Start a script, as the command ``bash -c`` of a container."""
        return subprocess.Popen(
            ["bash", "-c", text],
            env={
                "PATH": PATH,
                "PYTHONPATH": str(ROOT),
                "TMPDIR": str(self.path),
                "FILE_API_KEY": f" {TOKEN}, other",
                "CBNG_TERMINATION_LOG": str(self.path / "termination-log"),
                **(env or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ended(self, process: "subprocess.Popen[str]") -> EndedPod:
        """Wait for a script's end."""
        out, _ = process.communicate(timeout=60)
        told = json.loads((self.path / "termination-log").read_text(encoding="utf-8"))
        assert out.splitlines()[-1] == "cbngtrain: " + json.dumps(told, separators=(",", ":"))
        assert told["code"] == process.returncode
        return EndedPod(process.returncode, told, out)

    def run(self, step: Step, env: Mapping[str, str] | None = None, **place: Any) -> EndedPod:
        """Run the script of *step* to its end."""
        return self.ended(self.start(self.script(step, **place), env))

    def record(self, step: Step) -> Record | None:
        """What the store has for *step*."""
        return self.store.find(self.key(step))

    def key(self, step: Step) -> Fingerprint:
        """The fingerprint of *step* on what is read here."""
        return fingerprint(step, self.inputs(step))

    def blob(self, digest: str) -> bytes:
        """A blob of the store."""
        return self.store.path(Digest(digest)).read_bytes()
