"""What the real core wrote: it passes its checks, unless it is cut, and means what a shell says."""

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cbngtrain.canonical import FORMS, artifact_of, read_bayes_db
from cbngtrain.dump import canonicalise
from cbngtrain.errors import FormatError
from cbngtrain.recipes import RECIPES
from cbngtrain.step import Leaf, Recipe
from tests.conftest import ROOT, SHARED, needs_shared
from tests.step_outputs import sha256, shell, two

GOLDEN = SHARED / "golden"


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden artifacts of n50 and n400, unpacked, with canonical edit sets beside them."""
    root = tmp_path_factory.mktemp("golden")
    for name in ("n50", "n400"):
        for source in (GOLDEN / name).rglob("*.*"):
            path = root / source.relative_to(GOLDEN)
            path.parent.mkdir(parents=True, exist_ok=True)
            text = source.read_bytes()
            path.with_name(path.name.removesuffix(".gz")).write_bytes(
                gzip.decompress(text) if path.suffix == ".gz" else text
            )
        for role in ("train", "trial"):
            packed = SHARED / "data" / "edits" / f"{role}{name[1:]}.xml.gz"
            canonicalise(packed, root / name / f"{role}.xml", str(packed))
    return root


GOLDEN_LEAVES = [
    pytest.param((name, recipe, leaf), id=f"{name}-{leaf.artifact}")
    for name in ("n50", "n400")
    for recipe in RECIPES
    if recipe.program == "core"
    for leaf in recipe.leaves
]


def scene(golden: Path, case: tuple[str, Recipe, Leaf], tmp_path: Path) -> Path:
    """The directory in which a step has just run: its inputs, and what the real core left."""
    name, recipe, _ = case
    directory = tmp_path / "scene"
    for path, artifact in recipe.reads.items():
        place = directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        source = golden / name / artifact
        place.symlink_to(source if artifact.endswith(".xml") else golden / name / "data" / artifact)
    for leaf in recipe.leaves:
        place = directory / leaf.path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(golden / name / leaf.path, place)
    return directory


@needs_shared
@pytest.mark.parametrize("case", GOLDEN_LEAVES)
def test_golden_artifact_passes_its_check(
    golden: Path, tmp_path: Path, case: tuple[str, Recipe, Leaf]
):
    """Everything that the real core left is accepted, with the digest of its bytes."""
    name, _, leaf = case

    artifact = artifact_of(leaf, scene(golden, case, tmp_path))

    text = (golden / name / leaf.path).read_bytes()
    assert (artifact.name, artifact.size) == (leaf.artifact, len(text))
    assert artifact.digest == sha256(text)


@needs_shared
@pytest.mark.parametrize("case", GOLDEN_LEAVES[:12])
@pytest.mark.parametrize("left", [0, 0.3, 0.999])
def test_cut_golden_artifact_is_refused(
    golden: Path, tmp_path: Path, case: tuple[str, Recipe, Leaf], left: float
):
    """None of it is accepted when it is empty, cut in the middle, or just before its end."""
    directory, leaf = scene(golden, case, tmp_path), case[2]
    path = directory / leaf.path
    path.write_bytes(cut(path.read_bytes(), left))

    with pytest.raises(FormatError, match=path.name):
        artifact_of(leaf, directory)


def cut(text: bytes, left: float) -> bytes:
    """That share of the bytes, never ending with a whole line."""
    return text[: min(int(len(text) * left), len(text) - 2)].rstrip(b"\n")


@needs_shared
@pytest.mark.parametrize("name", ["n50", "n400"])
@pytest.mark.parametrize("words", ["main_bayes_train.dat", "two_bayes_train.dat"])
def test_golden_lines_in_shell(golden: Path, name: str, words: str):
    """On real words the two spellings agree."""
    path = golden / name / "data" / words

    assert FORMS["lines"](path) == shell('LC_ALL=C sort "$1" | sha256sum', path)


@needs_shared
@pytest.mark.parametrize("name", ["n50", "n400"])
def test_golden_rows_in_shell(golden: Path, name: str):
    """On real rows the two spellings agree."""
    path = golden / name / "data" / "main_ann_train.dat"

    assert FORMS["rows"](path) == shell(
        '{ head -n 1 "$1"; tail -n +2 "$1" | paste -d " " - - | LC_ALL=C sort; } | sha256sum', path
    )


BAYES_DB_IN_SHELL = r"""
words=${1/bayes.db/bayes_train.dat}
words=${words/data\/bayes/data\/main_bayes}
totals() { grep -c "^$1 _EDIT_TOTALS$" "$words" || true; }
{
    echo "_EDIT_TOTALS $(totals 0) $(totals 1)"
    sed -E 's/ [^ ]+ ([0-9]+ [0-9]+)$/ \1/' "$1.txt" | LC_ALL=C sort
} | sha256sum
"""


@needs_shared
@pytest.mark.parametrize("name", ["n50", "n400"])
@pytest.mark.parametrize("database", ["bayes.db", "two_bayes.db"])
def test_golden_bayes_db_in_shell(golden: Path, name: str, database: str):
    """The native dump without its score column, sorted, and totals counted in the words."""
    path = golden / name / "data" / database

    assert FORMS["bayes-db"](path) == shell(BAYES_DB_IN_SHELL, path)


@needs_shared
@pytest.mark.parametrize("database", ["bayes.db", "two_bayes.db"])
def test_bayes_db_as_the_engine_prints_it(golden: Path, database: str):
    """The engine's print_bayes_db tells the same words and counts as the form has."""
    path = golden / "n50" / "data" / database
    command = [sys.executable, "-m", "cbngtrain.engine", "print_bayes_db", str(path)]

    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout

    rows = [row.rsplit(b" ", 3) for row in printed.splitlines()]
    read = read_bayes_db(path)
    del read[b"_EDIT_TOTALS"]
    assert {word: (int(good), int(bad)) for word, _, good, bad in rows} == read


@needs_shared
@pytest.mark.skipif(not shutil.which("db5.3_dump"), reason="Debian's db5.3-util is not here")
def test_bayes_db_as_berkeley_db_dumps_it(golden: Path):
    """Berkeley DB's own dump holds the same bytes."""
    path = golden / "n50" / "data" / "bayes.db"
    dumped = subprocess.run(["db5.3_dump", path], check=True, capture_output=True).stdout

    body = dumped.partition(b"HEADER=END\n")[2].partition(b"DATA=END")[0]
    pairs = [bytes.fromhex(row.decode()) for row in body.split()]
    read = {key: two(*value) for key, value in read_bayes_db(path).items()}
    assert dict(zip(pairs[::2], pairs[1::2], strict=True)) == read
