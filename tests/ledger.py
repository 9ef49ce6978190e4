"""
What has to be built, worked out independently of the build.

A `World` is what decides results: edits, program, configuration, seed. The `Ledger` plays builds of
worlds by a table of its own, with the core in small called directly, and knows what was made of
what, and which bytes still exist. It knows neither fingerprints nor records, plans nor stores.
"""

import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import chdir
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from berkeleydb import db

from tests import toy_core
from tests.conftest import dump, edit

STEPS: Mapping[str, tuple[dict[str, str], dict[str, str]]] = {
    "bayes_train": (
        {"edits.xml": "train"},
        {"data/main_bayes_train.dat": "main", "data/two_bayes_train.dat": "two"},
    ),
    "bayes.db": ({"data/main_bayes_train.dat": "main"}, {"data/bayes.db": "bayes.db"}),
    "two_bayes.db": ({"data/two_bayes_train.dat": "two"}, {"data/two_bayes.db": "two_bayes.db"}),
    "ann_train": (
        {"edits.xml": "train", "data/bayes.db": "bayes.db", "data/two_bayes.db": "two_bayes.db"},
        {"data/main_ann_train.dat": "rows"},
    ),
    "create_ann": ({"data/main_ann_train.dat": "rows"}, {"data/main_ann.fann": "network"}),
    "trial_run": (
        {
            "edits.xml": "trial",
            "data/bayes.db": "bayes.db",
            "data/two_bayes.db": "two_bayes.db",
            "data/main_ann.fann": "network",
        },
        {f"trialreport/{name}": name for name in (
            "report.txt", "thresholdtable.txt", "details.txt", "falsepositives.txt",
            "falsenegatives.txt", "debug.xml",
        )},
    ),
}  # fmt: skip
"""What the core is called for, in order: path → what it reads there, path → what it leaves."""

RIVALS = ("previous", "reference")
"""Steps that try another network for comparison: whether they do is no matter of the chain."""

_READ_CONFIGURATION = frozenset({"bayes_train", "ann_train", "trial_run"})


@dataclass(frozen=True, order=True)
class Edit:
    """An edit as people see it; ``vandalism`` is None until somebody has reviewed it."""

    id: int
    text: str
    vandalism: bool | None = False

    def xml(self) -> str:
        """As the review service dumps it."""
        whole = edit(self.id, self.text, vandalism=bool(self.vandalism))
        if self.vandalism is not None:
            return whole
        return "\n".join(line for line in whole.splitlines() if "isVandalism" not in line) + "\n"


Edits = frozenset[Edit]


def edits_about(first: int, number: int, word: str) -> Edits:
    """So many edits, every third vandalism."""
    texts = (f"the {word} {'abcdefgh'[i % 8] * 3} runs" + " x" * i for i in range(number))
    return frozenset(Edit(first + i, text, i % 3 == 0) for i, text in enumerate(texts))


@dataclass(frozen=True)
class World:
    """
    What decides results.

    Attributes:
        edits: Edit set → its training edits and its trial edits, in the plan's order.
        program: The core.
        conf: Its configuration.
        seed: Of the networks' start weights.
        epochs: For which they are trained at most.
    """

    edits: Mapping[str, tuple[Edits, Edits]]
    program: str = ""
    conf: str = ""
    seed: int = 1
    epochs: int = 150


@dataclass(frozen=True)
class Thing:
    """A file that was made: its bytes, and what they mean."""

    content: bytes
    meaning: object

    @property
    def digest(self) -> str:
        """What the store calls it."""
        return sha256(self.content).hexdigest()


@dataclass
class Ledger:
    """
    What was made so far.

    Attributes:
        made: Step and all that decides it → what came out.
        lost: Digests of what exists no more.
        things: Edit set and name → what stands, after the last build that came to its end.
    """

    made: dict[object, dict[str, Thing]] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    things: dict[tuple[str, str], Thing] = field(default_factory=dict)

    def build(self, world: World, until: str = "") -> list[str]:
        """
        Return what the core must be called for, in order, and enter it.

        Args:
            world: What is to be built.
            until: The first call for this ends without leaving anything, and so does the build.
        """
        calls = []
        have = {
            (name, role): _edit_set(edits)
            for name, both in world.edits.items()
            for role, edits in zip(("train", "trial"), both, strict=True)
        }
        for what, (reads, leaves) in STEPS.items():
            for name in world.edits:
                inputs = {path: have[name, thing] for path, thing in reads.items()}
                key = _key(what, world, inputs)
                if not self._stands(key):
                    calls.append(what)
                    if what == until:
                        return calls
                    self.made[key] = _made(what, world, inputs)
                    self.lost -= {thing.digest for thing in self.made[key].values()}
                for path, thing in self.made[key].items():
                    have[name, leaves[path]] = thing
        self.things = have
        return calls

    def meaning(self, name: str) -> tuple[tuple[str, object], ...]:
        """Return what all that stands of an edit set means."""
        of = {thing: made for (owner, thing), made in self.things.items() if owner == name}
        return tuple((thing, of[thing].meaning) for thing in sorted(of))

    def lose(self, name: str, thing: str) -> None:
        """Enter that the bytes of a thing that stands are no more."""
        self.lost.add(self.things[name, thing].digest)

    def _stands(self, key: object) -> bool:
        """Return whether that was made, and nothing of it is lost."""
        things = self.made.get(key)
        return things is not None and not any(t.digest in self.lost for t in things.values())


def _key(what: str, world: World, inputs: Mapping[str, Thing]) -> object:
    """Return all that decides a step's result."""
    conf = world.conf if what in _READ_CONFIGURATION else None
    numbers = (world.seed, world.epochs) if what == "create_ann" else None
    meanings = tuple((path, inputs[path].meaning) for path in sorted(inputs))
    return what, world.program, conf, numbers, meanings


def _edit_set(edits: Iterable[Edit]) -> Thing:
    """Return an edit set: those that are reviewed, by EditID."""
    reviewed = sorted(each for each in edits if each.vandalism is not None)
    return Thing(dump(each.xml() for each in reviewed).encode(), tuple(reviewed))


def _made(what: str, world: World, inputs: Mapping[str, Thing]) -> dict[str, Thing]:
    """Call the core for *what* in a directory with *inputs*; return what it leaves, by path."""
    leaves = STEPS[what][1]
    with tempfile.TemporaryDirectory() as directory, chdir(directory):
        for path in (*inputs, *leaves):
            Path(path).parent.mkdir(exist_ok=True)
        for path, thing in inputs.items():
            Path(path).write_bytes(thing.content)
        _call(what, world)
        return {path: Thing(Path(path).read_bytes(), _meaning(path)) for path in leaves}


def _call(what: str, world: World) -> None:
    if what == "create_ann":
        before = os.environ.get("CBNG_SEED")  # noqa: TID251 - the core's way to be told
        os.environ["CBNG_SEED"] = str(world.seed)  # noqa: TID251 - as above
        try:
            words = (str(world.epochs), "0.037", "100")  # also wanted error, hidden neurons
            toy_core.create_ann("data/main_ann.fann", "data/main_ann_train.dat", *words)
        finally:
            os.environ.pop("CBNG_SEED")  # noqa: TID251 - as above
            os.environ.update({"CBNG_SEED": before} if before else {})  # noqa: TID251 - as above
    elif what.endswith(".db"):
        source = {"bayes.db": "main", "two_bayes.db": "two"}[what]
        toy_core.create_bayes_db(f"data/{what}", f"data/{source}_bayes_train.dat")
    else:
        {
            "bayes_train": toy_core.bayes_train,
            "ann_train": toy_core.ann_train,
            "trial_run": toy_core.trial_run,
        }[what]()


def _meaning(path: str) -> object:
    """Return what a file means: words in any order, rows in any order, a database's contents."""
    if path.endswith("_bayes_train.dat"):
        return tuple(sorted(Path(path).read_bytes().splitlines()))
    if path == "data/main_ann_train.dat":
        head, *rows = Path(path).read_bytes().splitlines()
        return head, tuple(sorted(zip(rows[::2], rows[1::2], strict=True)))
    if path.endswith(".db"):
        base = db.DB()
        base.open(path, flags=db.DB_RDONLY)
        try:
            return tuple(sorted(base.items()))
        finally:
            base.close()
    return Path(path).read_bytes()
