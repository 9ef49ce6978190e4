"""The evaluation as steps of a build: real processes, real records."""

import shutil
from pathlib import Path

import pytest

from cbngtrain.build import realise
from cbngtrain.dispatch.local import EVALUATION, LocalDispatcher, trainer_program
from cbngtrain.errors import StepFailed
from cbngtrain.scratch import Scratch
from cbngtrain.settings import Settings
from cbngtrain.step import Artifact, Fingerprint, Leaf, Made, Recipe, Step
from cbngtrain.store import DirectoryStore
from tests.evaluation.trials import drawn, written

RECIPE = Recipe(
    name="beside",
    doc="one trial beside another",
    command=("compare", "--details", "new.txt", "--reference", "old.txt", "--out", "out",
             "--bootstrap", "{samples}"),
    reads={"new.txt": "new.txt", "old.txt": "old.txt"},
    leaves=(Leaf("out/comparison.md", "trial/comparison.md", "raw", "table"),),
    parameters={"samples": 100},
    program="trainer",
)  # fmt: skip


class Bench:
    """A store with two trials, and a dispatcher of this machine."""

    def __init__(self, path: Path, env: dict[str, str]) -> None:
        settings = Settings.from_env({"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), **env})
        self.store = DirectoryStore(path / "store")
        self.dispatcher = LocalDispatcher(self.store, settings, Scratch(path / "scratch"))
        self.inputs = {}
        for seed, name in enumerate(("new.txt", "old.txt"), 1):
            file = written(drawn(40, 40, seed), path / name)
            digest = self.store.add(file)
            artifact = Artifact(name, digest, digest, file.stat().st_size)
            self.inputs[name] = Made(artifact, Fingerprint(digest))

    def realise(self, *command: str):
        """The record of the recipe's step, with another command if there is one."""
        recipe = RECIPE if not command else Recipe(
            name="bad", doc="fails", command=command, reads=RECIPE.reads, leaves=RECIPE.leaves,
            program="trainer",
        )  # fmt: skip
        step = Step(
            recipe=recipe, slug="alpha", program=trainer_program(), conf=None,
            parameters=recipe.parameters,
        )  # fmt: skip
        return realise(step, self.inputs, self.store, self.dispatcher)


@pytest.mark.slow
def test_step_of_the_trainer_runs_the_evaluation(tmp_path: Path):
    """Its record has what the evaluation left, under a fingerprint of the evaluation's source."""
    bench = Bench(tmp_path, {})

    record, is_built = bench.realise()

    assert is_built
    assert record.parts["program"] == trainer_program()
    bench.store.fetch(record.artifact("trial/comparison.md").digest, tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text().startswith("# new beside reference\n")


@pytest.mark.slow
def test_step_of_the_trainer_needs_no_core(tmp_path: Path):
    """With a native core its steps still run the evaluation, which no directory of it has."""
    (tmp_path / "core").mkdir()

    assert Bench(tmp_path, {"CBNG_CORE": str(tmp_path / "core")}).realise()[1]


def test_failed_step_of_the_trainer_tells_the_evaluation_s_line(tmp_path: Path):
    """What the evaluation says is wrong is what the step failed with."""
    with pytest.raises(StepFailed, match=r"exit code 2: compare: --bootstrap: take 100 to"):
        Bench(tmp_path, {}).realise(*RECIPE.command[:-1], "3")


def test_source_of_the_evaluation_is_its_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Another letter in any module is another program; the place it stands at is not."""
    copy = Path(shutil.copytree(EVALUATION, tmp_path / "evaluation"))
    monkeypatch.setattr("cbngtrain.dispatch.local.EVALUATION", copy)
    elsewhere = trainer_program()
    (copy / "points.py").write_text("# another\n")
    changed = trainer_program()
    monkeypatch.undo()

    assert elsewhere == trainer_program() != changed
