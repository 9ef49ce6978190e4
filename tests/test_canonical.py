"""Canonical forms against second spellings, and checks against good and bad files."""

import functools
import gzip
import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from berkeleydb import db
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cbngtrain.canonical import CHECKS, FORMS, artifact_of, digest_of, read_bayes_db
from cbngtrain.dump import canonicalise
from cbngtrain.errors import DispatchError, FormatError, SettingsError
from cbngtrain.recipes import ANN, RECIPES
from cbngtrain.step import Leaf, Recipe
from tests.conftest import ROOT, SHARED, dump, edits, needs_shared
from tests.toy_evaluation import picture

GOLDEN = SHARED / "golden"

in_one_directory = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # every example writes its own file anew


def meaning(form: str, path: Path, text: bytes) -> str:
    """The meaning of a file with these bytes."""
    path.write_bytes(text)
    return FORMS[form](path)


def sha256(text: bytes) -> str:
    """The digest of bytes."""
    return hashlib.sha256(text).hexdigest()


def shell(script: str, path: Path) -> str:
    """The sha256 that a pod's shell computes of *path*, which is ``$1``."""
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-euc", script, "bash", str(path)],
        check=True,
        capture_output=True,
        text=True,
    )
    return ended.stdout.split()[0]


def write_bayes_db(path: Path, counts: Iterable[tuple[bytes, bytes]]) -> Path:
    """Make a database."""
    path.unlink(missing_ok=True)
    base = db.DB()
    base.open(str(path), dbtype=db.DB_BTREE, flags=db.DB_CREATE)
    for word, value in counts:
        base.put(word, value)
    base.close()
    return path


def two(good: int, bad: int) -> bytes:
    """A database's value."""
    return good.to_bytes(4, "little") + bad.to_bytes(4, "little")


# Forms -----------------------------------------------------------------------------------------

line = st.binary(max_size=8).map(lambda text: text.replace(b"\n", b""))
lines = st.lists(line, max_size=12)


@in_one_directory
@given(lines, st.randoms(use_true_random=False), st.sampled_from([b"", b"\n"]))
def test_lines_are_sorted_by_bytes(
    tmp_path: Path, of: list[bytes], chance: random.Random, end: bytes
):
    """Whatever the order of lines, and whether the last one ends, the meaning is the same."""
    shuffled = b"\n".join(chance.sample(of, len(of))) + end

    rows = [row.removesuffix(b"\n") for row in io.BytesIO(shuffled)]
    wanted = b"".join(row + b"\n" for row in sorted(rows))
    assert meaning("lines", tmp_path / "x", shuffled) == sha256(wanted)
    assert meaning("lines", tmp_path / "x", shuffled) == shell(
        'LC_ALL=C sort "$1" | sha256sum', tmp_path / "x"
    )


@in_one_directory
@given(st.lists(st.tuples(line, line), max_size=8), st.randoms(use_true_random=False))
def test_rows_are_pairs_of_lines(
    tmp_path: Path, of: list[tuple[bytes, bytes]], chance: random.Random
):
    """After the header, an edit's input and output line stay together and are sorted as one."""
    shuffled = chance.sample(of, len(of))
    text = b"h 1 2\n" + b"".join(a + b"\n" + b + b"\n" for a, b in shuffled)

    wanted = b"h 1 2\n" + b"".join(row + b"\n" for row in sorted(a + b" " + b for a, b in of))
    assert meaning("rows", tmp_path / "x", text) == sha256(wanted)
    assert meaning("rows", tmp_path / "x", text) == shell(
        '{ head -n 1 "$1"; tail -n +2 "$1" | paste -d " " - - | LC_ALL=C sort; } | sha256sum',
        tmp_path / "x",
    )


def test_rows_of_other_edits_mean_something_else(tmp_path: Path):
    """An output that goes to another edit's input is another meaning: lines are not just sorted."""
    one = b"2 1 1\n0.1\n0\n0.9\n1\n"
    other = b"2 1 1\n0.1\n1\n0.9\n0\n"

    assert meaning("rows", tmp_path / "x", one) != meaning("rows", tmp_path / "x", other)


def test_header_is_part_of_the_meaning(tmp_path: Path):
    """Rows of another header mean something else."""
    assert meaning("rows", tmp_path / "x", b"1 1 1\n0\n0\n") != meaning(
        "rows", tmp_path / "x", b"1 2 1\n0\n0\n"
    )


@given(st.binary(max_size=50))
@in_one_directory
def test_raw_is_the_bytes(tmp_path: Path, text: bytes):
    """A raw artifact means its bytes."""
    assert meaning("raw", tmp_path / "x", text) == sha256(text) == digest_of(tmp_path / "x")


def test_locale_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Lines are in byte order whatever the machine's locale sorts by."""
    monkeypatch.setitem(os.environ, "LC_ALL", "en_US.UTF-8")  # noqa: TID251 - to be ignored
    text = "b\nB\na\né\nZ\n".encode()

    assert meaning("lines", tmp_path / "x", text) == sha256("B\nZ\na\nb\né\n".encode())


@pytest.mark.parametrize("script", ["cat > /dev/null; echo part; exit 2", "exit 2"])
def test_sorting_that_fails_is_no_meaning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
):
    """What a failed sort has told so far is never taken for the meaning."""
    pipe = subprocess.PIPE
    failing = functools.partial(subprocess.Popen, ["sh", "-c", script], stdin=pipe, stdout=pipe)
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: failing())

    with pytest.raises(DispatchError, match="x: cannot be sorted: exit code 2 of sort"):
        meaning("lines", tmp_path / "x", b"b\n" * 1_000_000)


word = st.binary(min_size=1, max_size=6).map(lambda text: b"w" + text.replace(b"\n", b""))
counts = st.dictionaries(
    word, st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), max_size=8
)


@in_one_directory
@given(counts, st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_bayes_db_means_its_totals_and_counts(
    tmp_path: Path, of: dict[bytes, tuple[int, int]], totals: tuple[int, int]
):
    """The two totals, then ``word good bad``, sorted; not the file's own random number."""
    rows = [(b"_EDIT_TOTALS", totals), *of.items()]

    path = write_bayes_db(tmp_path / "x.db", [(key, two(*value)) for key, value in rows])

    body = sorted(b"%b %d %d" % (key, *value) for key, value in of.items())
    text = b"\n".join([b"_EDIT_TOTALS %d %d" % totals, *body, b""])
    assert FORMS["bayes-db"](path) == sha256(text)
    assert read_bayes_db(path) == dict(rows)


def test_two_databases_of_one_content_have_one_meaning(tmp_path: Path):
    """Berkeley DB never writes the same bytes twice; the meaning does not show it."""
    rows = [(b"_EDIT_TOTALS", two(1, 2)), (b"word", two(1, 1))]
    one = write_bayes_db(tmp_path / "one.db", rows)
    other = write_bayes_db(tmp_path / "other.db", rows)

    assert digest_of(one) != digest_of(other)
    assert FORMS["bayes-db"](one) == FORMS["bayes-db"](other)


def test_missing_berkeley_db_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where Berkeley DB cannot be loaded, the package that brings it is named."""
    monkeypatch.setitem(sys.modules, "berkeleydb.db", None)

    with pytest.raises(SettingsError, match=r"install Debian's libdb5\.3-dev"):
        read_bayes_db(tmp_path / "bayes.db")


# What the real core wrote ----------------------------------------------------------------------


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


# Checks ----------------------------------------------------------------------------------------

WORDS = b"1 _EDIT_TOTALS\n1 a\n1 b c\n0 _EDIT_TOTALS\n0 a\n"
ROWS = b"3 2 1\n0.5 0.25\n1\n0 -1.0\n0\n1 1\n0\n"
NETWORK = (
    b"FANN_FLO_2.1\nnum_layers=3\nlayer_sizes=3 3 2 \nconnections (connected_to_neuron, weight)="
    + b"(0, 1.5e-01) " * (3 * 2 + 3 * 1)
    + b"\n"
)
REPORT = b"=== REPORT ===\nTrial set: 3 Edits - 1 vandalism\nCorrect positives: 1 (90.0%)\n"
DETAILS = b"".join(b"editid=%d, isvandalism=true, score=0.5\n" % i for i in range(3))
METRICS = b'{"format": "cbngtrain/metrics", "version": 1, "counts": {"edits": 3}}'
PNG = picture(7)
SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">\n</svg>\n'


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where a step with three edits has run, with training data of two inputs and one output."""
    raw = tmp_path / "raw"
    raw.write_text(dump(edits(1, 3)), encoding="utf-8")
    canonicalise(raw, tmp_path / "edits.xml", "url")
    (tmp_path / "details.txt").write_bytes(DETAILS)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "main_ann_train.dat").write_bytes(ROWS)
    (tmp_path / "data" / "main_bayes_train.dat").write_bytes(WORDS)
    return tmp_path


def checked(check: str, directory: Path, text: bytes) -> None:
    """Check a file with these bytes."""
    path = directory / "out"
    path.write_bytes(text)
    CHECKS[check](path, directory)


GOOD: list[tuple[str, bytes]] = [
    ("bayes-words", WORDS),
    ("bayes-words", b"0 _EDIT_TOTALS\n"),
    ("bayes-words", b"0 _EDIT_TOTALS\n0 \xff\r \x00\n"),
    ("ann-rows", ROWS),
    ("network", NETWORK),
    ("trial-report", REPORT),
    ("trial-report", REPORT.replace(b"- 1", b"- 0").replace(b"90.0", b"-nan")),
    ("trial-report", REPORT.replace(b"- 1", b"- 3").replace(b"90.0", b"nan")),
    ("trial-details", DETAILS),
    ("table", b"# False negatives\n"),
    ("table", b"# Threshold\n0.0000 1.0000 1.0000\n"),
    ("edit-set", b"<WPEditSet>\n<WPEdit></WPEdit>\n\n</WPEditSet>\n"),
    ("metrics", METRICS),
    ("png", PNG),
    ("svg", SVG),
]
"""Check, and text that passes it in the directory below; the shell's checks are held to it too."""


@pytest.mark.parametrize(("check", "text"), GOOD)
def test_good_output_passes(directory: Path, check: str, text: bytes):
    """What it should be is accepted."""
    checked(check, directory, text)


BAD: list[tuple[str, bytes, str]] = [
    ("bayes-words", b"", "out: is empty"),
    ("bayes-words", b"\0" * 100, "out: line 1: not a 0 or 1, a space and a word"),
    ("bayes-words", WORDS[:-1], "out: line 5: not a 0 or 1"),
    ("bayes-words", WORDS + b"\n", "out: line 6: not a 0 or 1"),
    ("bayes-words", WORDS + b"1", "out: line 6: not a 0 or 1"),
    ("bayes-words", WORDS + b"2 a\n", "out: line 6: not a 0 or 1"),
    ("bayes-words", WORDS + b"1 \n", "out: line 6: not a 0 or 1"),
    ("bayes-words", b"1 a\n" + WORDS, "out: line 1: does not begin with _EDIT_TOTALS"),
    ("bayes-words", WORDS * 2, "out: tells of 4 edits, but there are only 3"),
    ("ann-rows", b"", "out: is empty"),
    ("ann-rows", b"garbage", "out: line 1: not a header of three numbers"),
    ("ann-rows", b"9" * 5000 + b" 1 1\n", "out: line 1: not a header of three numbers"),
    ("ann-rows", ROWS.replace(b"3", b"2", 1), "out: line 1: 2 rows for 3 edits"),
    ("ann-rows", ROWS[:-1], "out: has 5 whole lines for 3 rows"),
    ("ann-rows", ROWS[:-3], "out: has 4 whole lines for 3 rows"),
    ("ann-rows", ROWS[:6], "out: has 0 whole lines for 3 rows"),
    ("ann-rows", ROWS + b"1\n", "out: has 7 whole lines for 3 rows"),
    ("ann-rows", ROWS + b"1", "out: has 6 whole lines for 3 rows"),
    ("ann-rows", ROWS.replace(b"0 -1.0", b"0"), "out: line 4: does not hold 2 numbers"),
    ("ann-rows", b"3 2 1\n0 0 0\n1\n0\n0\n1 1\n0\n", "out: line 2: does not hold 2 numbers"),
    ("ann-rows", ROWS.replace(b"1 1\n0\n", b"1 1\n\n"), "out: line 7: does not hold 1 numbers"),
    ("ann-rows", ROWS.replace(b"0.5", b"nan"), "out: holds more than numbers: b'nan'"),
    ("ann-rows", ROWS.replace(b"0.5", b"-inf"), "out: holds more than numbers: b'inf'"),
    ("network", b"", "out: is empty"),
    ("network", b"garbage", "out: is not a whole network"),
    ("network", NETWORK[13:], "out: is not a whole network"),
    ("network", NETWORK[: NETWORK.index(b"conn")], "out: is not a whole network"),
    ("network", NETWORK[:-1], "out: is not a whole network"),
    ("network", NETWORK.replace(b"layer_sizes=3 3 2 ", b""), "out: is not a whole network"),
    ("network", NETWORK.replace(b"(0, 1.5e-01) \n", b"\n"), "out: has 8 weights instead of 9"),
    ("network", NETWORK.replace(b"1.5e-01", b"-nan", 1), "out: has a weight that is no number"),
    ("network", NETWORK.replace(b"1.5e-01", b"inf", 1), "out: has a weight that is no number"),
    ("network", NETWORK.replace(b"3 3 2", b"4 3 2").replace(b"\n\n", b"") [:-1]
     + b"(0, 1) (0, 1) \n", "out: has 3 inputs and 1 outputs instead of 2 and 1"),
    ("trial-report", b"", "out: does not report on the 3 edits of the trial set"),
    ("trial-report", REPORT.replace(b"3 E", b"4 E"), "out: does not report on the 3 edits"),
    ("trial-report", REPORT.replace(b"90.0", b"-nan"), "out: a rate is no number"),
    ("trial-report", REPORT[:-1], "out: is cut before its last line"),
    ("trial-report", REPORT[:50], "out: is cut before its last line"),
    ("trial-details", b"", "out: is empty"),
    ("trial-details", DETAILS[:-1], "out: has 3 whole lines for 3 edits"),
    ("trial-details", DETAILS[: len(DETAILS) // 3], "out: has 1 whole lines for 3 edits"),
    ("trial-details", DETAILS * 2, "out: has 6 whole lines for 3 edits"),
    ("trial-details", DETAILS + b"oops\n", "out: has 3 whole lines for 3 edits"),
    ("trial-details", DETAILS.replace(b"0.5", b"-nan"), "out: line 1: a score is no number"),
    ("table", b"", "out: is not a whole table"),
    ("table", b"0.5 1 1\n", "out: is not a whole table"),
    ("table", b"# Threshold\n0.0000 1.00", "out: is not a whole table"),
    ("metrics", b"", "out: is empty"),
    ("metrics", METRICS[:-2], "out: is no cbngtrain/metrics: JSONDecodeError"),
    ("metrics", b"[]", "out: is no cbngtrain/metrics: TypeError"),
    ("metrics", METRICS.replace(b": 1,", b": 2,"), "out: is not cbngtrain/metrics in version"),
    ("metrics", METRICS.replace(b"cbngtrain/m", b"m"), "out: is not cbngtrain/metrics in"),
    ("metrics", METRICS.replace(b"3}", b"2}"), "out: tells of 2 edits, but 3 were scored"),
    ("metrics", METRICS.replace(b"3}", b"NaN}"), "out: has NaN, which is no number"),
    ("png", b"", "out: is no whole PNG"),
    ("png", PNG[:-1], "out: is no whole PNG"),
    ("png", PNG[:-12], "out: is no whole PNG"),
    ("png", PNG + b"x", "out: is no whole PNG"),
    ("png", PNG[1:], "out: is no whole PNG"),
    ("png", PNG.replace(b"IDAT", b"IDAX"), "out: is no whole PNG"),
    ("svg", b"", "out: is no whole SVG"),
    ("svg", SVG[:-3], "out: is no whole SVG"),
    ("svg", b"<html></svg>", "out: is no whole SVG"),
    ("edit-set", b"", "out: does not end with </WPEditSet>"),
    ("edit-set", b"<WPEditSet>" + b"x" * 500, "out: does not end with </WPEditSet>"),
    ("edit-set", b"<WPEditSet></WPEditSet>x", "out: does not end with </WPEditSet>"),
]  # fmt: skip
"""Check, text that fails it, and what is told."""


@pytest.mark.parametrize(("check", "text", "told"), BAD, ids=lambda value: str(value)[-50:])
def test_bad_output_is_refused(directory: Path, check: str, text: bytes, told: str):
    """What is cut, garbage, miscounted or empty is refused, with the file and the line."""
    with pytest.raises(FormatError) as error:
        checked(check, directory, text)

    assert str(error.value).startswith(told)


TOTALS = (b"_EDIT_TOTALS", two(1, 1))


def test_good_database_passes(directory: Path):
    """A database that counted as many edits as its words tell of is accepted."""
    path = write_bayes_db(directory / "out", [TOTALS, (b"a", two(1, 1))])

    CHECKS["bayes-db"](path, directory)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "out: counts 0 edits; main_bayes_train.dat has 2"),
        ([(b"a", two(1, 1))], "out: counts 0 edits"),
        ([(b"_EDIT_TOTALS", two(1, 2))], "out: counts 3 edits; main_bayes_train.dat has 2"),
        ([TOTALS, (b"a", b"1234")], "out: a value is not two 32-bit numbers"),
        ([TOTALS, (b"a", b"")], "out: a value is not two 32-bit numbers"),
    ],
    ids=["empty", "no totals", "other totals", "short value", "no value"],
)
def test_bad_database_is_refused(directory: Path, rows: list[tuple[bytes, bytes]], told: str):
    """What the native core leaves with exit status 0 of a bad file is no database."""
    path = write_bayes_db(directory / "out", rows)

    with pytest.raises(FormatError) as error:
        CHECKS["bayes-db"](path, directory)

    assert str(error.value).startswith(told)


def test_models_that_come_with_a_core(directory: Path):
    """Where nothing that they were made of is here, databases must count, networks be whole."""
    (directory / "data" / "main_bayes_train.dat").unlink()
    (directory / "data" / "main_ann_train.dat").unlink()
    CHECKS["bayes-db"](write_bayes_db(directory / "good", [TOTALS]), directory)
    checked("network", directory, NETWORK)

    with pytest.raises(FormatError, match="counts 0 edits"):
        CHECKS["bayes-db"](write_bayes_db(directory / "bad", []), directory)
    with pytest.raises(FormatError, match="is not a whole network"):
        checked("network", directory, NETWORK[:-1])


@pytest.mark.parametrize(
    "text", [b"", b"garbage", b"\0" * 8192, b"x" * 8192], ids=["empty", "short", "zeros", "long"]
)
def test_what_is_no_database_is_refused(directory: Path, text: bytes):
    """Bytes that Berkeley DB did not write are refused."""
    with pytest.raises(FormatError, match="out: no Berkeley DB database"):
        checked("bayes-db", directory, text)


@pytest.mark.parametrize("page", [0, 1, 2, 3])
@pytest.mark.parametrize("damage", [b"\0", b"\xff"], ids=["zeros", "ones"])
def test_damaged_database_is_refused(directory: Path, page: int, damage: bytes):
    """A page that was not written is noticed, and reading it never hangs."""
    rows = [TOTALS, *((b"word %d" % i, two(i, 1)) for i in range(1000))]
    text = bytearray(write_bayes_db(directory / "out", rows).read_bytes())
    text[page * 4096 : (page + 1) * 4096] = damage * 4096

    with pytest.raises(FormatError, match="out: no Berkeley DB database"):
        checked("bayes-db", directory, bytes(text))


def test_output_that_was_not_left_is_refused(tmp_path: Path):
    """The native core ends with exit status 0 and no file on an empty edit set."""
    with pytest.raises(FormatError, match=r"data/main_ann\.fann: the command did not leave it"):
        artifact_of(ANN.leaves[0], tmp_path)


def test_artifact_of_a_good_output(directory: Path):
    """A good output becomes an artifact with digest, meaning and size."""
    (directory / "data" / "main_ann.fann").write_bytes(NETWORK)

    artifact = artifact_of(ANN.leaves[0], directory)

    assert artifact.name == "main_ann.fann"
    assert artifact.digest == artifact.meaning == sha256(NETWORK)
    assert artifact.size == len(NETWORK)
