"""Random histories: whatever changes and changes back, what is dispatched is the minimum."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st

from tests.conftest import ROOT, Site
from tests.ledger import Edit, Edits, Ledger, World

pytestmark = pytest.mark.slow

NAMES = ("Alpha", "Beta")
ROLES = ("training", "trial")

PATHS = {
    "main": "artifacts/main_bayes_train.dat",
    "two": "artifacts/two_bayes_train.dat",
    "bayes.db": "artifacts/bayes.db",
    "two_bayes.db": "artifacts/two_bayes.db",
    "rows": "artifacts/main_ann_train.dat",
    "network": "artifacts/main_ann.fann",
    "report.txt": "trial/report.txt",
    "details.txt": "trial/details.txt",
    "thresholdtable.txt": "trial/thresholdtable.txt",
    "debug.xml": "trial/debug.xml",
    "train": "edit-sets/train.xml",
    "trial": "edit-sets/trial.xml",
}
"""A thing of the ledger → where it is published."""


def edits(first: int, number: int, word: str) -> Edits:
    """So many edits, every third vandalism."""
    texts = (f"the {word} {'abcdefgh'[i % 8] * 3} runs" + " x" * i for i in range(number))
    return frozenset(Edit(first + i, text, i % 3 == 0) for i, text in enumerate(texts))


START = World(
    {
        "Alpha": (edits(100, 9, "river"), edits(200, 6, "river")),
        "Beta": (edits(300, 9, "mountain"), edits(400, 6, "mountain")),
    }
)


OTHER_EPOCHS = """
from dataclasses import replace
from cbngtrain import plan
plan.RECIPES = tuple(
    replace(r, parameters={{**r.parameters, "max_epochs": {}}}) if r.name == "ann" else r
    for r in plan.RECIPES
)
"""
"""A number of the table of recipes, changed."""


@dataclass
class History:
    """A site, what it is today, and what has to be built."""

    site: Site
    ledger: Ledger
    world: World = START
    published: bool = False

    def enter(self) -> None:
        """Make the site what the world is."""
        for n, name in enumerate(NAMES):
            for role, group in zip(self.world.edits[name], (3 * n + 2, 3 * n + 3), strict=True):
                self.site.dump(group, (each.xml() for each in sorted(role)))
        conf = self.site.core / "conf" / "cluebotng.conf"
        conf.write_text(f"chains: {{}};\n# {self.world.conf}\n")
        dodo = self.site.path / "dodo.py"
        dodo.write_text(OTHER_EPOCHS.format(self.world.epochs) + (ROOT / "dodo.py").read_text())
        program = self.site.core / "create_ann"
        text = program.read_text().partition("\n# program")[0]
        program.write_text(f"{text}\n# program {self.world.program}\n")

    def build(self) -> None:
        """Build; what is dispatched is what the ledger says, and then there is nothing to do."""
        self.enter()
        self.site.forget_calls()
        wanted = self.ledger.build(self.world)
        env = {
            "CBNG_SEED": str(self.world.seed),
            "PYTHONDONTWRITEBYTECODE": "1",  # it takes a dodo.py of the same second for the same
        }

        ended = self.site.run(env=env)

        note(f"wanted {wanted}")
        note(repr(ended))
        assert ended.status == 0, ended
        assert self.site.own_calls == wanted, ended
        self.published = True
        self.check()
        if wanted:
            again = self.site.run(env=env)
            assert again.lines[0].startswith("Nothing to do"), again

    def check(self) -> None:
        """What is published is what the core makes of the edits, byte by byte where it can be."""
        for (name, thing), made in self.ledger.things.items():
            if thing not in {"bayes.db", "two_bayes.db", "train", "trial"} and thing in PATHS:
                found = hashlib.sha256(self.blob(name, thing).read_bytes()).hexdigest()
                assert found == made.digest, (name, thing)

    def blob(self, name: str, thing: str) -> Path:
        """Where the bytes of a published thing are."""
        latest = self.site.base / "store" / "tree" / name / "latest"
        return (latest / PATHS[thing]).resolve()


Action = Callable[[History], None]


def _with(history: History, name: str, role: str, changed: Edits) -> None:
    training, trial = history.world.edits[name]
    both = (changed, trial) if role == "training" else (training, changed)
    history.world = replace(history.world, edits={**history.world.edits, name: both})


def _edits(history: History, name: str, role: str) -> Edits:
    return history.world.edits[name][ROLES.index(role)]


def add(name: str, role: str, number: int, history: History) -> None:
    """An edit arrives, one of a few; the second time it is removed."""
    edit = Edit(900 + number, f"the extra {'klmn'[number] * 4} edit", number % 2 == 0)
    _with(history, name, role, _edits(history, name, role) ^ {edit})


def remove(name: str, role: str, number: int, history: History) -> None:
    """An edit vanishes, unless few are left."""
    found = sorted(_edits(history, name, role))
    gone = found[number % len(found) : number % len(found) + 1] if len(found) > 3 else []
    _with(history, name, role, frozenset(found) - set(gone))


def twin(name: str, role: str, history: History) -> None:
    """The last edit gets another EditID: other edits, the same words."""
    *others, last = sorted(_edits(history, name, role))
    number = last.id + 1000 if last.id < 1000 else last.id - 1000
    _with(history, name, role, frozenset([*others, replace(last, id=number)]))


def reclassify(name: str, role: str, number: int, history: History) -> None:
    """Somebody thinks otherwise of an edit."""
    found = sorted(_edits(history, name, role))
    edit = found[number % len(found)]
    other = replace(edit, vandalism=not edit.vandalism)
    _with(history, name, role, frozenset(found) - {edit} | {other})


def make_equal(history: History) -> None:
    """Beta gets Alpha's edits; if it has them, its own again."""
    edits = history.world.edits
    other = START.edits["Beta"] if edits["Beta"] == edits["Alpha"] else edits["Alpha"]
    history.world = replace(history.world, edits={**edits, "Beta": other})


def turn(what: str, history: History) -> None:
    """A number, the configuration or the program is another one, or the first one again."""
    world = history.world
    history.world = {
        "seed": replace(world, seed=3 - world.seed),
        "epochs": replace(world, epochs=301 - world.epochs),
        "conf": replace(world, conf="" if world.conf else "other"),
        "program": replace(world, program="" if world.program else "new"),
    }[what]


def lose(name: str, thing: str, history: History) -> None:
    """The store loses a blob."""
    if history.published and (blob := history.blob(name, thing)).exists():
        blob.unlink()
        if thing not in ROLES and thing not in {"train", "trial"}:
            history.ledger.lose(name, thing)


def forget(what: str, history: History) -> None:
    """The working directory is gone, or a part of it."""
    path = history.site.path / what
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


NAME, ROLE = st.sampled_from(NAMES), st.sampled_from(ROLES)
ACTIONS = st.one_of(
    st.builds(partial, st.just(add), NAME, ROLE, st.integers(0, 3)),
    st.builds(partial, st.just(remove), NAME, ROLE, st.integers(0, 8)),
    st.builds(partial, st.just(twin), NAME, ROLE),
    st.builds(partial, st.just(reclassify), NAME, ROLE, st.integers(0, 8)),
    st.just(make_equal),
    st.builds(partial, st.just(turn), st.sampled_from(["seed", "epochs", "conf", "program"])),
    st.builds(partial, st.just(lose), NAME, st.sampled_from(sorted(PATHS))),
    st.builds(partial, st.just(forget), st.sampled_from(["build", ".doit.db"])),
)
DAYS = st.lists(st.lists(ACTIONS, min_size=1, max_size=3), min_size=2, max_size=6)


@given(days=DAYS)
@example(
    days=[
        [],
        [partial(turn, "seed")],
        [partial(turn, "seed"), partial(lose, "Alpha", "network")],
        [partial(turn, "epochs")],
        [partial(turn, "epochs"), partial(turn, "conf")],
        [make_equal],
        [partial(lose, "Beta", "thresholdtable.txt"), partial(forget, "build")],
        [make_equal, partial(twin, "Alpha", "training")],
        [partial(remove, "Beta", "trial", 2), partial(turn, "program")],
        [partial(turn, "program"), partial(add, "Beta", "training", 1)],
    ]
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
def test_dispatched_steps_are_the_minimum(days: list[list[Action]]):
    """
    Whatever is added, reclassified, removed, changed, changed back, made equal or lost: the steps
    that are dispatched are those that an independent ledger asks for, in its order, and no others.
    """
    with tempfile.TemporaryDirectory() as directory:
        history = History(Site(Path(directory)), Ledger())
        for day in days:
            for action in day:
                note(repr(action))
                action(history)
            history.build()
