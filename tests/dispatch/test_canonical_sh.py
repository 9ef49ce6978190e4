"""canonical.sh against canonical.py: both tell the same of every file, good, bad or odd."""

import functools
import gzip
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cbngtrain.canonical import artifact_of
from cbngtrain.dump import canonicalise
from cbngtrain.errors import FormatError
from cbngtrain.recipes import RECIPES
from cbngtrain.step import Leaf, Recipe
from tests.conftest import ROOT, SHARED, needs_shared
from tests.dispatch.places import CHAIN, PATH, engine_workspace, recipe
from tests.step_outputs import BAD, DETAILS, GOOD, NETWORK, ROWS, TOTALS, WORDS, two, write_bayes_db

pytestmark = pytest.mark.slow  # bash judges thousands of artifacts, one process after another

CANONICAL = (ROOT / "cbngtrain" / "dispatch" / "canonical.sh").read_text(encoding="utf-8")


def judged(leaves: Iterable[tuple[Path, Leaf]], path: str = PATH) -> list[str]:
    """What bash says of each file in its directory: its meaning, or what is wrong with it."""
    calls = "".join(
        f"(cd '{directory}' && rm -f \"$scratch\"/* && if check {leaf.check.replace('-', '_')} "
        f"'{leaf.path}'; then meaning {leaf.form.replace('-', '_')} '{leaf.path}' && echo; "
        'else echo "$problem"; fi)\n'
        for directory, leaf in leaves
    )
    ended = subprocess.run(
        ["bash", "-c", f"scratch=$(mktemp -d); limit=60\n{CANONICAL}{calls}rm -r $scratch"],
        check=True, capture_output=True, text=True, errors="replace",
        env={"PATH": path, "PYTHONPATH": str(ROOT)}, timeout=60,
    )  # fmt: skip
    assert not ended.stderr
    return ended.stdout.splitlines()


def wanted(directory: Path, leaf: Leaf) -> str:
    """What canonical.py says of it."""
    try:
        return artifact_of(leaf, directory).meaning
    except FormatError as error:
        return str(error).removeprefix(f"{Path(leaf.path).name}: ")


FORM_OF = {leaf.check: leaf.form for recipe in RECIPES for leaf in recipe.leaves}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a step with three edits has run; programs are the engine's."""
    path = engine_workspace(tmp_path_factory.mktemp("scene") / "workspace")
    (path / "edits.xml").write_bytes(
        b"<WPEditSet>\n" + b"<WPEdit>\n</WPEdit>\n" * 3 + b"</WPEditSet>\n"
    )
    (path / "details.txt").write_bytes(DETAILS)
    (path / "data").mkdir()
    (path / "data" / "main_ann_train.dat").write_bytes(ROWS)
    (path / "data" / "main_bayes_train.dat").write_bytes(WORDS)
    return path


ODD = [
    ("bayes-words", WORDS + b"0 \0\n"),
    ("bayes-words", WORDS + b"\\:\\:\\:\n"),
    ("bayes-words", WORDS + b"1\n0 a\n"),
    ("bayes-words", b"\n" + WORDS),
    ("bayes-words", b"0 _EDIT_TOTALS "),
    ("bayes-words", b"0 _EDIT_TOTALSx\n"),
    ("ann-rows", b"3 2 1"),
    ("ann-rows", b"3 2 1\n"),
    ("ann-rows", b"003 0002 01\n" + ROWS[6:]),
    ("ann-rows", b"3 2 1 \n" + ROWS[6:]),
    ("ann-rows", b"3 0 0\n" + b"\n" * 6),
    ("ann-rows", b"3 2 1\n" + b"  1   2 \n 3\n" * 3),
    ("ann-rows", b"3 2 1\n" + b"1 2\n3\n" * 2 + b"1 2\n3 4\n"),
    ("ann-rows", b"3 999999999 1\n" + b"1 2\n3\n" * 3),
    ("ann-rows", ROWS.replace(b"\n", b"\r\n")),
    ("network", NETWORK.replace(b"2 \n", b"2\n")),
    ("network", NETWORK.replace(b"3 3 2", b"0 3 2")),
    ("network", NETWORK + NETWORK),
    ("network", NETWORK[:-1] + b"nobody(\n"),
    ("network", b"FANN_FLO_2.1\nx\n" + NETWORK[13:]),
    ("trial-report", b"Trial set: 3 Edits - 1 vandalism\nTrial set: 4 Edits\n"),
    ("trial-report", b"Trial set: 4 Edits - 1 vandalism\nTrial set: 3 Edits\n"),
    ("trial-report", b"Trial set: 3 Edits - 1 vandalism\n"),
    ("trial-report", b"x\nTrial set: 003 Edits - 1 vandalism\n \n\t\n"),
    ("trial-report", b"x\nTrial set: 3 Edits - 1 vandalism\nCorrect positives: \n"),
    ("trial-report", b"x\nTrial set: 3 Edits - 1 vandalism\nCorrect positives:  \nx"),
    ("trial-report", b"x\nTrial set: " + b"9" * 400 + b" Edits\n"),
    ("trial-details", b"editid=1, x\n" * 2 + b"editid=,1, x\n"),
    ("trial-details", b"editid=1, x\n" * 2 + b"editid=1,x\n"),
    ("trial-details", b"editid=1, x\n" * 2 + b"editid=1, \n"),
    ("trial-details", b"editid=1, \0\n" * 2 + b"editid=1, xscore=-inf\n"),
    ("trial-details", b"editid=1, x, score=-0.1\n" * 3),
    ("table", b"#"),
    ("table", b"\0#\n"),
    ("edit-set", b"</WPEditSet>\0\n"),
    ("edit-set", b"</WPEditSet> \t\r\n\v\f\n"),
]  # fmt: skip
"""More of what might be read differently."""


def cases(directory: Path, of: Iterable[tuple[str, bytes]]) -> list[tuple[Path, Leaf]]:
    """Files with these bytes, each a leaf with that check."""
    found = []
    for i, (check, text) in enumerate(of):
        (directory / f"out{i}").write_bytes(text)
        found.append((directory, Leaf(f"out{i}", "x", FORM_OF[check], check)))
    return found


OF_TRAINER = {leaf.check for of in RECIPES if of.program == "trainer" for leaf in of.leaves}
"""Checks of what the trainer's own programs leave, in whose image Python is."""

TABLE = [*GOOD, *((check, text) for check, text, _ in BAD), *ODD]


def test_shell_and_python_judge_alike(scene: Path):
    """Of good, bad and odd files both spellings tell the same: the meaning, or what is wrong."""
    of = cases(scene, [row for row in TABLE if row[0] not in OF_TRAINER])

    assert judged(of) == [wanted(*each) for each in of]


def test_outputs_of_the_trainer_are_judged_alike(scene: Path):
    """What the trainer's own programs leave is judged by the very functions of canonical.py."""
    of = cases(scene, [row for row in TABLE if row[0] in OF_TRAINER])

    assert judged(of) == [wanted(*each) for each in of]


@pytest.mark.skipif(not shutil.which("dpkg"), reason="not a Debian")
def test_checks_and_forms_need_coreutils_only(scene: Path, bare_path: str):
    """An image with bash, coreutils and curl is enough to judge."""
    of = cases(scene, [(check, text) for check, text in GOOD if check not in OF_TRAINER])

    assert judged(of, bare_path) == [wanted(*each) for each in of]


def mutated(text: bytes) -> st.SearchStrategy[bytes]:
    """That text with a few bytes put in, taken out or doubled."""
    piece = st.sampled_from(
        [b"", b"\n", b" ", b"0", b"1", b"-", b",", b"(", b"nan", b"\0", b"\xff", b"x"]
    )
    edit = st.tuples(st.integers(0, len(text)), st.integers(0, 12), piece)

    def applied(edits: list[tuple[int, int, bytes]]) -> bytes:
        changed = text
        for at, length, new in edits:
            changed = changed[:at] + new + changed[at + length :]
        return changed

    return st.lists(edit, max_size=3).map(applied)


mutants = st.lists(
    st.sampled_from([row for row in GOOD if row[0] not in OF_TRAINER]).flatmap(
        lambda row: st.tuples(st.just(row[0]), mutated(row[1]))
    ),
    min_size=20, max_size=20,
)  # fmt: skip


def alike(told: str) -> str:
    """What is told without foreign bytes in it, which bash cannot spell as Python does."""
    return told.split(": b'", maxsplit=1)[0]


bulky = functools.partial(
    settings,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # each example is twenty: none is shrunk
)


@bulky(max_examples=2)
@given(mutants)
def test_shell_and_python_judge_mutants_alike(scene: Path, of: list[tuple[str, bytes]]):
    """So they do of good files that were changed somewhere."""
    found = cases(scene, of)

    assert [alike(said) for said in judged(found)] == [alike(wanted(*each)) for each in found]


@bulky(max_examples=30)
@given(mutants)
def test_shell_and_python_judge_many_mutants_alike(scene: Path, of: list[tuple[str, bytes]]):
    """So they do of many."""
    found = cases(scene, of)

    assert [alike(said) for said in judged(found)] == [alike(wanted(*each)) for each in found]


SETS = {"n50": ("train50", "trial50"), "n400": ("train400", "trial400"), "real": None}
"""Golden results, and the edits that they are of; the real ones hold an edit twice."""
REAL = b"<WPEdit>\n" * 9


def golden(name: str, path: str) -> bytes:
    """A golden file, unpacked."""
    plain = SHARED / "golden" / name / path
    packed = plain.with_name(f"{plain.name}.gz")
    return plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())


def golden_scene(name: str, of: Recipe, directory: Path) -> Path:
    """Where the real core has just run a step: what it read and left, and the engine's programs."""
    engine_workspace(directory)
    for path, artifact in of.reads.items():
        (directory / path).parent.mkdir(exist_ok=True)
        if artifact.endswith(".xml"):
            edit_sets = SETS[name]
            if edit_sets is None:
                (directory / path).write_bytes(REAL)
                continue
            packed = SHARED / "data" / "edits" / f"{edit_sets[artifact == 'trial.xml']}.xml.gz"
            canonicalise(packed, directory / path, str(packed))
        else:
            (directory / path).write_bytes(golden(name, f"data/{artifact}"))
    for leaf in of.leaves:
        (directory / leaf.path).parent.mkdir(exist_ok=True)
        (directory / leaf.path).write_bytes(golden(name, leaf.path))
    return directory


@needs_shared
@pytest.mark.parametrize("name", ["n50", "real", pytest.param("n400", marks=pytest.mark.slow)])
def test_shell_and_python_judge_golden_artifacts_alike(tmp_path: Path, name: str):
    """Whatever the real core left has one digest and meaning, in bash as in Python."""
    scenes = [golden_scene(name, each, tmp_path / each.name) for each in CHAIN]
    of = [(at, leaf) for at, each in zip(scenes, CHAIN, strict=True) for leaf in each.leaves]

    meanings = [wanted(*each) for each in of]

    assert judged(of) == meanings
    assert [each for each in meanings if not re.fullmatch("[0-9a-f]{64}", each)] == []


@needs_shared
@pytest.mark.parametrize(
    ("name", "by", "told"),
    [
        ("bayes.db", "bayes_db", "[0-9a-f]{64}"),
        ("main_bayes_train.dat", "bayes_train", "[0-9a-f]{64}"),
        # Somebody has taken the blanks at the ends of its lines out.
        ("main_ann.fann", "ann", "is not a whole network"),
    ],
)
def test_shell_and_python_judge_shipped_artifacts_alike(
    tmp_path: Path, name: str, by: str, told: str
):
    """So they do of what the core's image comes with, made of many more edits."""
    directory = engine_workspace(tmp_path / "workspace")
    (directory / "edits.xml").write_bytes(b"<WPEdit>\n" * 20_000)
    (directory / "data").mkdir()
    for each in (name, "main_bayes_train.dat"):
        (directory / "data" / each).write_bytes(golden("shipped", each))
    (leaf,) = (leaf for leaf in recipe(by).leaves if leaf.artifact == name)

    assert judged([(directory, leaf)]) == [wanted(directory, leaf)]
    assert re.fullmatch(told, wanted(directory, leaf))


@needs_shared
@pytest.mark.parametrize("name", SETS)
def test_shell_and_python_judge_seeded_networks_alike(tmp_path: Path, name: str):
    """So they do of networks that the core's trainer made of given weights."""
    directory = golden_scene(name, recipe("ann"), tmp_path / "workspace")
    (directory / "data" / "main_ann.fann").write_bytes(golden(name, "seeded/main_ann.fann"))
    (leaf,) = recipe("ann").leaves

    assert judged([(directory, leaf)]) == [wanted(directory, leaf)]
    assert re.fullmatch("[0-9a-f]{64}", wanted(directory, leaf))


def database(directory: Path, rows: list[tuple[bytes, bytes]]) -> tuple[Path, Leaf]:
    """A database beside the words it might be of."""
    write_bayes_db(directory / "out", rows)
    return directory, DATABASE


@pytest.mark.parametrize(
    "rows",
    [
        [TOTALS],
        [TOTALS, (b"a", two(1, 1)), (b"b", two(4_000_000_000, 0))],
        [TOTALS, (b"a b", two(1, 1)), (b"a", two(2, 1)), (b" ", two(1, 2)), (b"a  c ", two(0, 3))],
        [TOTALS, (b"\xff", two(1, 1)), (b"Z", two(1, 1)), (b"a 0 0 0", two(1, 1))],
    ],
    ids=["pruned", "words", "spaces", "bytes"],
)  # fmt: skip
def test_database_has_one_meaning(scene: Path, rows: list[tuple[bytes, bytes]]):
    """Words may hold spaces, as pairs do, and any number of them."""
    of = database(scene, rows)

    assert judged([of]) == [wanted(*of)]
    assert re.fullmatch("[0-9a-f]{64}", wanted(*of))


DATABASE = Leaf("out", "x", "bayes-db", "bayes-db")


def test_models_that_come_with_a_core(tmp_path: Path):
    """Where nothing that they were made of is here, both spellings judge them by themselves."""
    place = engine_workspace(tmp_path / "workspace")
    write_bayes_db(place / "good", [TOTALS])
    (place / "bad").write_bytes(b"garbage")
    (place / "whole").write_bytes(NETWORK)
    (place / "cut").write_bytes(NETWORK[:-1])
    of = [(place, Leaf(name, "x", "raw", "bayes-db")) for name in ("good", "bad")]
    of += [(place, Leaf(name, "x", "raw", "network")) for name in ("whole", "cut")]

    told = judged(of)

    assert told[::2] == [wanted(*each) for each in of[::2]]
    assert told[1::2] == [
        "no Berkeley DB database that print_bayes_db can read", "is not a whole network",
    ]  # fmt: skip


@pytest.mark.parametrize("text", [b"", b"garbage", b"\0" * 8192], ids=["empty", "short", "zeros"])
def test_what_is_no_database_is_refused(scene: Path, text: bytes):
    """Bytes that Berkeley DB did not write are refused."""
    (scene / "out").write_bytes(text)

    assert judged([(scene, DATABASE)]) == ["no Berkeley DB database that print_bayes_db can read"]
    assert wanted(scene, DATABASE).startswith("no Berkeley DB database")


@pytest.mark.parametrize(
    ("prints", "told"),
    [
        ("true", "counts 0 edits; main_bayes_train.dat has 2"),
        ("yes 'a 0.5 1 1'", "no Berkeley DB database that print_bayes_db can read"),
        ("echo 'a 0.5 1 1'; exit 1", "no Berkeley DB database that print_bayes_db can read"),
    ],
    ids=["nothing", "no end", "exit"],
)
def test_database_is_refused_for_its_dump(tmp_path: Path, prints: str, told: str):
    """The native core leaves empty databases, and of a damaged one its dump may have no end."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "main_bayes_train.dat").write_bytes(WORDS)
    (tmp_path / "print_bayes_db").write_text(f"#!/bin/bash\n{prints}\n", encoding="utf-8")
    (tmp_path / "print_bayes_db").chmod(0o755)
    write_bayes_db(tmp_path / "out", [])

    assert judged([(tmp_path, DATABASE)]) == [told]
