"""Build: references, the one question, lost inputs, the record as the only proof."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from cbngtrain.build import (
    Build,
    changes,
    read_reference,
    realise,
    write_reference,
)
from cbngtrain.errors import BlobNotFound, DispatchError, ReviewError, StoreError
from cbngtrain.plan import Plan, Programs, plan, single_edit_set
from cbngtrain.publish import publish
from cbngtrain.settings import Settings
from cbngtrain.step import Artifact, Digest, Fingerprint, Made, Step, fingerprint
from cbngtrain.store import DirectoryStore
from tests.conftest import dump, edits
from tests.scribe import Scribe

A, B, C = (Digest(letter * 64) for letter in "abc")


class CountingStore(DirectoryStore):
    """A directory that counts its questions."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.questions: list[set[Digest]] = []

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Remember what was asked."""
        asked = set(digests)
        self.questions.append(asked)
        return super().missing(asked)


class Place:
    """A build in a directory, with its parts at hand."""

    def __init__(self, path: Path, url: str) -> None:
        self.store = CountingStore(path / "store")
        self.scribe = Scribe(self.store, path)
        self.plan = planned(url)
        self.build = Build(self.plan, self.store, self.scribe, Settings.from_env({}))

    def make_all(self) -> None:
        """Ask the source and make every step."""
        self.build.ask(self.plan.edit_set("one").sources[0])
        for step in self.plan.steps["one"]:
            self.build.make(step)

    def step(self, name: str) -> Step:
        """The step of that recipe."""
        return next(s for s in self.plan.steps["one"] if s.recipe.name == name)

    def forget(self, name: str) -> None:
        """Disown the record of that step."""
        step = self.step(name)
        self.store.forget(fingerprint(step, self.build.inputs(step)))

    def referred(self) -> list[tuple[str, Artifact]]:
        """What the references name, of what `ann_train` needs."""
        names = ["train.xml", "main_bayes_train.dat", "bayes.db", "two_bayes.db"]
        found = [(name, read_reference(self.build.reference("one", name))) for name in names]
        return [(name, made.artifact) for name, made in found if made]


def planned(url: str) -> Plan:
    """The plan of one edit set without a trial."""
    return plan(single_edit_set("One", url, None), Programs({"engine": A}, B, {"trainer": C}))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A build of one edit set, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dump.xml").write_text(dump(edits(1, 6)), encoding="utf-8")
    return Place(tmp_path, f"file:{tmp_path}/dump.xml")


def test_reference_round_trip(tmp_path: Path):
    """A reference tells meaning, digest, size and maker, on one line."""
    path = tmp_path / "build" / "one" / "bayes.db"
    made = Made(Artifact("", A, B, 17), Fingerprint(C))

    write_reference(path, made)

    assert path.read_text() == f"{B} {A} 17 {C}\n"
    assert read_reference(path) == made


def test_reference_that_says_so_already_is_left_alone(tmp_path: Path):
    """Writing the same reference again does not touch the file: doit sees no change."""
    path = tmp_path / "reference"
    made = Made(Artifact("", A, B, 17), Fingerprint(C))
    write_reference(path, made)
    before = path.stat().st_mtime_ns, path.stat().st_ino

    write_reference(path, made)

    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


@pytest.mark.parametrize("text", ["", "half", f"{A} {B} x {C}\n", f"{A} {B} 1 {'z' * 64}\n", "ä"])
def test_reference_that_is_none_counts_as_missing(tmp_path: Path, text: str):
    """What cannot be read as a reference is none."""
    (tmp_path / "reference").write_text(text)

    assert read_reference(tmp_path / "reference") is None


def test_first_question_asks_for_all_references_at_once(place: Place):
    """However many tasks ask whether they are stored, the store is asked once for all."""
    place.make_all()
    place.store.questions.clear()
    build = Build(place.plan, place.store, place.scribe, Settings.from_env({}))

    answers = [
        build.is_stored("one", [leaf.artifact for leaf in step.recipe.leaves])
        for step in place.plan.steps["one"]
    ]

    assert answers == [True] * 5
    assert [len(question) for question in place.store.questions] == [6]


def test_record_keeps_what_was_really_read_and_what_made_it(place: Place):
    """Per input the record has the digest that was read and the fingerprint of its maker."""
    place.make_all()
    step = place.step("ann")
    record = place.store.find(fingerprint(step, place.build.inputs(step)))
    rows = read_reference(place.build.reference("one", "main_ann_train.dat"))

    assert record
    assert rows
    made = record.inputs["data/main_ann_train.dat"]
    assert (made.artifact.digest, made.by) == (rows.artifact.digest, rows.by)
    assert set(record.blobs) == {a.digest for a in record.artifacts} | {record.log}


def test_lost_input_makes_no_record_invalid(place: Place):
    """A record holds its outputs and its log, never its inputs."""
    place.make_all()
    step = place.step("ann")
    key = fingerprint(step, place.build.inputs(step))
    lost = read_reference(place.build.reference("one", "main_ann_train.dat"))
    assert lost
    place.store.path(lost.artifact.digest).unlink()

    assert place.store.find(key)


def test_lost_inputs_are_made_again_before_a_step_runs(place: Place):
    """All that a step reads and that is lost is made again, from the source down."""
    place.make_all()
    for name in ("train.xml", "main_bayes_train.dat", "bayes.db"):
        lost = read_reference(place.build.reference("one", name))
        assert lost
        place.store.path(lost.artifact.digest).unlink()
    place.forget("ann_train")
    place.scribe.ran.clear()

    place.build.make(place.step("ann_train"))

    assert set(place.scribe.ran) == {"ann_train:one", "bayes_db:one", "bayes_train:one"}
    assert place.store.missing(a.digest for _, a in place.referred()) == set()


def test_input_that_is_lost_for_good_is_an_error(place: Place, tmp_path: Path):
    """What cannot be made again is told, not tried for ever."""
    place.make_all()
    lost = read_reference(place.build.reference("one", "train.xml"))
    assert lost
    place.store.path(lost.artifact.digest).unlink()
    place.forget("bayes_train")
    (tmp_path / "dump.xml").unlink()

    with pytest.raises(ReviewError, match=r"dump\.xml: cannot be"):
        place.build.make(place.step("bayes_train"))


def test_step_that_leaves_no_record_has_not_succeeded(place: Place):
    """A dispatcher that returns proves nothing: the record is looked for."""
    place.build.ask(place.plan.edit_set("one").sources[0])
    place.scribe.is_idle = True
    step = place.step("bayes_train")

    with pytest.raises(DispatchError, match=r"bayes_train:one ended without leaving its record"):
        realise(step, place.build.inputs(step), place.store, place.scribe)


def test_step_before_its_inputs_says_what_to_run(place: Place):
    """A reference that is missing names the task that makes it."""
    with pytest.raises(StoreError, match=r"run `doit edit_set:one/train`"):
        place.build.make(place.step("bayes_train"))


def test_publishing_refuses_what_does_not_belong_together(place: Place):
    """A record made from another input than is published beside it is not published."""
    place.make_all()
    step = place.step("ann")
    reference = place.build.reference("one", "main_ann_train.dat")
    made = read_reference(reference)
    assert made
    strange = Artifact("", made.artifact.digest, C, made.artifact.size)
    write_reference(reference, Made(strange, made.by))
    place.build.make(step)

    with pytest.raises(StoreError, match=r"ann:one was made from another main_ann_train.dat"):
        publish(place.build, place.plan.edit_set("one"))


def test_changes_names_what_differs():
    """Changes go by name, old → new; digests are short, all else in full."""
    before = {"inputs": {"edits.xml": A, "gone": B}, "parameters": {"max_epochs": 150}}
    now = {"inputs": {"edits.xml": C}, "parameters": {"max_epochs": 151}}

    assert changes(before, now) == [
        f"inputs.edits.xml {A[:12]} → {C[:12]}",
        f"inputs.gone {B[:12]} → nothing",
        "parameters.max_epochs 150 → 151",
    ]


def test_missing_blob_carries_its_digest():
    """Who catches BlobNotFound can tell which blob."""
    assert BlobNotFound(A).digest == A
