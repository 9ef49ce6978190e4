"""``create_bayes_db``: word lists, and the program on its command line."""

import gzip
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbngtrain.engine import packed, word_arrays, word_list
from cbngtrain.engine.bayes import EDIT_TOTALS, WordCounts, read_database
from cbngtrain.engine.print_bayes_db import database_text
from cbngtrain.engine.word_arrays import counted_as_arrays
from cbngtrain.engine.word_list import atoi, counted_plain_lines, word_counts, word_of

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="../shared is not here")

PROGRAM = (sys.executable, "-m", "cbngtrain.engine", "create_bayes_db")

LIST = b"1 _EDIT_TOTALS\n1 bad\n1 it\n" * 3 + b"0 _EDIT_TOTALS\n0 good\n0 it\n" * 3


def run(*args: object, **options) -> "subprocess.CompletedProcess[str]":
    """Run the program."""
    command = [*PROGRAM, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@needs_golden
@pytest.mark.parametrize(
    ("words", "database"),
    [
        *(
            pytest.param(f"{name}/data/{words}", f"{name}/data/{database}", id=f"{name} {database}")
            for name in ("real", "n50", "n400")
            for words, database in (
                ("main_bayes_train.dat", "bayes.db"),
                ("two_bayes_train.dat", "two_bayes.db"),
            )
        ),
        pytest.param("shipped/main_bayes_train.dat", "shipped/bayes.db", id="the bot's own"),
    ],
)
def test_golden(words: str, database: str, tmp_path: Path) -> None:
    """The native core's word lists make its databases: the same text, byte for byte."""
    (tmp_path / "in.dat").write_bytes(gzip.decompress((GOLDEN / f"{words}.gz").read_bytes()))
    ended = run(tmp_path / "out.db", tmp_path / "in.dat")
    assert (ended.returncode, ended.stderr) == (0, "")
    text = database_text(read_database(tmp_path / "out.db"))
    assert text == (GOLDEN / f"{database}.txt").read_bytes()


def test_replaces_what_was_there(tmp_path: Path) -> None:
    """A database is made anew, whatever had its name."""
    (tmp_path / "in.dat").write_bytes(LIST)
    (tmp_path / "out.db").write_bytes(b"old")
    ended = run(tmp_path / "out.db", tmp_path / "in.dat")
    assert ended.stdout.splitlines()[1] == "6 edits, 3 of them vandalism"
    assert read_database(tmp_path / "out.db") == {
        EDIT_TOTALS: (3, 3),
        b"bad": (0, 3),
        b"good": (3, 0),
    }


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        pytest.param(b"1 word", (b"word", True), id="bad"),
        pytest.param(b"0 word", (b"word", False), id="good"),
        pytest.param(b"1 two words", (b"two words", True), id="all after the first space"),
        pytest.param(b"1  word", (b" word", True), id="a space of its own"),
        pytest.param(b" word", (b"word", False), id="no number is 0"),
        pytest.param(b"12 word", (b"word", True), id="any number but 0"),
        pytest.param(b"-1 word", (b"word", True), id="below 0"),
        pytest.param(b"x1 word", (b"word", False), id="a number must lead"),
        pytest.param(b"1 \xff\xfe", (b"\xff\xfe", True), id="any bytes"),
        pytest.param(b"1 word\r", (b"word\r", True), id="carriage return stays"),
        pytest.param(b"1 wo\0rd", (b"wo", True), id="a NUL ends the word"),
        pytest.param(b"1\0 word", None, id="a NUL before the space"),
        pytest.param(b"1 a", (b"a", True), id="three bytes"),
        pytest.param(b" a", None, id="two bytes"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b"word", None, id="no space"),
        pytest.param(b"11 ", None, id="no word"),
    ],
)
def test_line(line: bytes, entry: tuple[bytes, bool] | None) -> None:
    """A line is taken apart as the native core does."""
    assert word_of(line) == entry


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"", 0),
        (b"7", 7),
        (b"+7", 7),
        (b" \t-7x", -7),
        (b"- 7", 0),
        (b"0x10", 0),
        (b"2147483648", -2147483648),
        (b"4294967296", 0),
        (b"9" * 40, -1),
    ],
)
def test_atoi(text: bytes, number: int) -> None:
    """``atoi`` is that of glibc on 64-bit machines, out of range too."""
    assert atoi(text) == number


def plainly_counted(data: bytes) -> WordCounts:
    """Count a list's words in the plainest way."""
    words: dict[bytes, list[int]] = {}
    for line in data.split(b"\n"):
        if entry := word_of(line):
            words.setdefault(entry[0], [0, 0])[entry[1]] += 1
    return {word: (good, bad) for word, (good, bad) in words.items()}


letters = st.sampled_from([b"a", b"ab", b"b", b" ", b"abcdefgh", b"\xff", b"x" * 70, b"y" * 200])
word = st.lists(letters, min_size=1, max_size=4).map(b"".join) | st.binary(max_size=20).map(
    lambda raw: raw.replace(b"\n", b"").replace(b"\0", b"") or b"w"
)
plain_line = st.tuples(st.sampled_from([b"0 ", b"1 "]), word).map(b"".join)
any_line = plain_line | st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b""))


def as_list(lines: list[bytes]) -> bytes:
    """Return a list of these lines and an edit's."""
    return b"".join(line + b"\n" for line in [*lines, b"1 _EDIT_TOTALS"])


@settings(deadline=None)
@given(lines=st.lists(plain_line, max_size=60), least=st.integers(1, 4))
def test_counting_as_arrays(lines: list[bytes], least: int) -> None:
    """Lists as the core writes them are counted as a plain count does, rare words left out."""
    data = as_list(lines)
    counts = plainly_counted(data)
    assert counted_as_arrays(data, least) == {
        entry: edits
        for entry, edits in counts.items()
        if sum(edits) >= least or len(entry) == len(EDIT_TOTALS)
    }


@settings(deadline=None)
@given(lines=st.lists(plain_line, max_size=60), least=st.integers(1, 4))
def test_counting_plain_lines(lines: list[bytes], least: int) -> None:
    """So are they line by line: no word of enough edits is missing, and all counts are right."""
    data = as_list(lines)
    counts = plainly_counted(data)
    ours = counted_plain_lines(data, least)
    enough = {word for word, edits in counts.items() if sum(edits) >= least}
    assert enough | {EDIT_TOTALS} <= ours.keys()
    assert ours.items() <= counts.items()


@settings(deadline=None)
@given(lines=st.lists(any_line, max_size=30))
def test_counting_any_lines(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any lines at all are counted as a plain count does."""
    path = tmp_path_factory.getbasetemp() / "any.dat"
    path.write_bytes(as_list(lines))
    assert word_counts(path) == plainly_counted(as_list(lines))


@pytest.mark.parametrize("batch", [7, 64, 1000])
def test_batches(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a batch ends, within a line or behind it, makes no difference."""
    data = b"".join(b"%d %s\n" % (i % 2, b"w" * (i % 90)) for i in range(300))
    monkeypatch.setattr(word_arrays, "_BATCH_BYTES", batch)
    assert counted_as_arrays(data, 1) == plainly_counted(data)


def test_words_that_share_a_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When two words share a hash, here all do, a long list is counted line by line, exactly."""
    monkeypatch.setattr(packed, "MULTIPLIER", packed.MULTIPLIER * 0)
    monkeypatch.setattr(word_list, "_LONG_LIST", 1)
    (tmp_path / "in.dat").write_bytes(LIST)
    assert counted_as_arrays(LIST, 1) is None
    assert word_counts(tmp_path / "in.dat") == plainly_counted(LIST)


@pytest.mark.parametrize("long_list", [1, 1 << 40], ids=["as arrays", "line by line"])
@pytest.mark.parametrize("line", [b"12 w", b"1 w\0", b"w", b"", b"2 w", b"0 ", b"1 w"], ids=repr)
def test_odd_lines(
    line: bytes, long_list: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that the core never writes is counted in lists of any length."""
    monkeypatch.setattr(word_list, "_LONG_LIST", long_list)
    data = LIST + line + b"\n"
    (tmp_path / "in.dat").write_bytes(data)
    assert word_counts(tmp_path / "in.dat") == plainly_counted(data)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", "line 1: is empty", id="empty"),
        pytest.param(LIST[:-2], "line 18: is cut: no newline ends it", id="cut within a line"),
        pytest.param(b"<html>\n<p>502 Bad\n" * 50, "no word list", id="a web page"),
        pytest.param(bytes(range(256)) * 64 + b"\n", "no word list", id="bytes"),
        pytest.param(b"\n\n\n", "no word list", id="empty lines"),
        pytest.param(b"1 word\n" * 9, "no line is 'V _EDIT_TOTALS'", id="no edits"),
    ],
)
def test_bad_lists(content: bytes, problem: str, tmp_path: Path) -> None:
    """A bad list: one line that names the file, exit status 2, and the old database stays."""
    path = tmp_path / "in.dat"
    path.write_bytes(content)
    (tmp_path / "out.db").write_bytes(b"old")
    ended = run(tmp_path / "out.db", path)
    assert ended.stderr.startswith(f"create_bayes_db: {path}: ")
    assert problem in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert ended.returncode == 2
    assert (tmp_path / "out.db").read_bytes() == b"old"


def test_list_is_missing(tmp_path: Path) -> None:
    """A list that does not exist is an error, and no database is made."""
    ended = run(tmp_path / "o.db", tmp_path / "in.dat")
    assert ended.stderr.endswith("in.dat: cannot be read: No such file or directory\n")
    assert ended.returncode == 2
    assert not list(tmp_path.iterdir())


def test_list_is_a_directory(tmp_path: Path) -> None:
    """A directory is no list."""
    assert f"{tmp_path}: cannot be read: Is a directory" in run(tmp_path / "o.db", tmp_path).stderr


def test_unwritable_database(tmp_path: Path) -> None:
    """A database in a directory that does not exist: one line, exit status 2."""
    (tmp_path / "in.dat").write_bytes(LIST)
    ended = run(tmp_path / "no" / "out.db", tmp_path / "in.dat")
    assert ended.stderr == (
        f"create_bayes_db: {tmp_path}/no/out.db: cannot be written: No such file or directory\n"
    )
    assert ended.returncode == 2


def test_full_disk(tmp_path: Path) -> None:
    """When the disk is full, here at 8 KB, one line is all that is left, and the old database."""
    lines = [b"0 _EDIT_TOTALS\n"] + [b"0 word %d\n" % i for i in range(3000)]
    (tmp_path / "in.dat").write_bytes(b"".join(lines) * 3)
    (tmp_path / "out.db").write_bytes(b"old")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    ended = run(tmp_path / "out.db", tmp_path / "in.dat", preexec_fn=limit)
    assert ended.stderr.startswith(f"create_bayes_db: {tmp_path}/out.db: cannot be written: ")
    assert ended.stderr.count("\n") == 1
    assert ended.returncode == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.dat", "out.db"]
    assert (tmp_path / "out.db").read_bytes() == b"old"


def test_usage() -> None:
    """Without its arguments it tells how it is used."""
    assert run().stderr == "create_bayes_db: usage: create_bayes_db OUT.db IN.dat\n"
