"""The Bayes database: written, read, pruned."""

import gzip
import math
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from berkeleydb import db
from hypothesis import given, settings
from hypothesis import strategies as st

from cbngtrain.engine.bayes import (
    EDIT_TOTALS,
    WordCounts,
    pruned,
    read_database,
    vandalism_shares,
    write_database,
)
from cbngtrain.engine.errors import EngineError, FormatError

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="../shared is not here")

counts = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
keys = st.binary(min_size=1, max_size=40) | st.binary(min_size=3000, max_size=9000)


def edits(good: int, bad: int) -> WordCounts:
    """Return a database of so many edits and no words."""
    return {EDIT_TOTALS: (good, bad)}


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(words=st.dictionaries(keys, counts, max_size=60), totals=counts)
def test_round_trip(words: WordCounts, totals: tuple[int, int]) -> None:
    """Whatever words are written, of any bytes, are read back with their counts, in byte order."""
    written = words | {EDIT_TOTALS: totals}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "bayes.db")
        write_database(path, written)
        assert list(read_database(path).items()) == sorted(written.items())


def test_many_pages(tmp_path: Path) -> None:
    """A database of many pages is read back whole, and its file has no page that is not needed."""
    words = edits(5, 6) | {b"word %06d" % i: (i, 7) for i in range(20_000)}
    write_database(tmp_path / "bayes.db", words)
    assert read_database(tmp_path / "bayes.db") == dict(sorted(words.items()))
    assert (tmp_path / "bayes.db").stat().st_size < 20_000 * 40


@needs_golden
@pytest.mark.parametrize("name", ["real", "n50", "n400"])
@pytest.mark.parametrize("database", ["bayes.db", "two_bayes.db"])
def test_reads_what_the_native_core_wrote(name: str, database: str, tmp_path: Path) -> None:
    """The native core's databases are read: each word of their golden text, and the totals."""
    data = GOLDEN / name / "data"
    path = tmp_path / database
    path.write_bytes(gzip.decompress((data / f"{database}.gz").read_bytes()))
    text = (data / f"{database}.txt").read_bytes().splitlines()
    assert len(read_database(path)) == len(text) + 1


@pytest.mark.skipif(not shutil.which("db5.3_verify"), reason="Debian's db5.3-util is not here")
def test_berkeley_db_accepts_it(tmp_path: Path) -> None:
    """Debian's own tools verify a database and dump it as a B-tree of the native page size."""
    path = tmp_path / "bayes.db"
    write_database(path, edits(3, 4) | {b"a": (1, 2), b"b c": (258, 0)})
    subprocess.run(["db5.3_verify", "-q", path], check=True)
    dump = subprocess.run(["db5.3_dump", path], check=True, capture_output=True, text=True).stdout
    assert "type=btree\ndb_pagesize=4096\n" in dump
    assert " 622063\n 0201000000000000\n" in dump  # "b c": 258 good, 0 bad, little-endian


def bayes_bytes(tmp_path: Path) -> bytes:
    """Return a sound database of several pages."""
    words = edits(5, 6) | {b"word %d" % i: (i, i) for i in range(2000)}
    write_database(tmp_path / "sound.db", words)
    return (tmp_path / "sound.db").read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda _: b"<!DOCTYPE html>\n" * 1000, id="a web page"),
        pytest.param(lambda sound: sound[:-4096], id="cut by a page"),
        pytest.param(lambda sound: sound[:-100], id="cut within a page"),
        pytest.param(lambda sound: sound[:512], id="cut to its head"),
        pytest.param(lambda sound: bytes(4096) + sound[4096:], id="head of zeros"),
        pytest.param(lambda sound: sound[:8192] + bytes(4096) + sound[12288:], id="page of zeros"),
        pytest.param(lambda sound: sound[:8192] + b"\xff" * 64 + sound[8256:], id="rotten page"),
        pytest.param(  # Berkeley DB 5.3.28 frees memory twice while it verifies this
            lambda sound: sound[:4096] + sound[4104:] + bytes(8), id="shifted page"
        ),
    ],
)
def test_damage_is_an_error(damage, tmp_path: Path) -> None:
    """A file that is no whole database is refused in one line with its name."""
    path = tmp_path / "bayes.db"
    path.write_bytes(damage(bayes_bytes(tmp_path)))
    with pytest.raises(FormatError, match=r"bayes\.db: is not a whole Berkeley DB B-tree"):
        read_database(path)


def test_missing_is_an_error(tmp_path: Path) -> None:
    """A database that does not exist is an error, and reading makes none."""
    with pytest.raises(FormatError, match="does not exist"):
        read_database(tmp_path / "bayes.db")
    assert not list(tmp_path.iterdir())


def foreign(path: Path, kind: int, items: Mapping[bytes, bytes]) -> Path:
    """Write a Berkeley database that is not a Bayes database."""
    tree = db.DB()
    tree.open(str(path), dbtype=kind, flags=db.DB_CREATE)
    for key, value in items.items():
        tree.put(key, value)
    tree.close()
    return path


@pytest.mark.parametrize(
    ("kind", "items", "problem"),
    [
        pytest.param(db.DB_BTREE, {b"a": bytes(8)}, "_EDIT_TOTALS", id="no totals"),
        pytest.param(
            db.DB_BTREE, {EDIT_TOTALS: bytes(8), b"a": b"1"}, "word b'a'", id="value of one byte"
        ),
        pytest.param(db.DB_HASH, {EDIT_TOTALS: bytes(8)}, "B-tree", id="hash table"),
    ],
)
def test_other_databases_are_errors(
    kind: int, items: Mapping[bytes, bytes], problem: str, tmp_path: Path
) -> None:
    """A Berkeley database that is no Bayes database is refused, and why."""
    with pytest.raises(FormatError, match=problem):
        read_database(foreign(tmp_path / "x.db", kind, items))


def test_unwritable_is_an_error(tmp_path: Path) -> None:
    """A database that cannot be written is an error that names it."""
    with pytest.raises(EngineError, match=r"no/bayes\.db: cannot be written"):
        write_database(tmp_path / "no" / "bayes.db", edits(1, 1))


small = st.integers(0, 30)


@settings(deadline=None)
@given(
    words=st.dictionaries(
        st.binary(min_size=1, max_size=3), st.tuples(small, small).filter(any), max_size=30
    ),
    totals=st.tuples(small, small),
)
def test_pruning(words: WordCounts, totals: tuple[int, int]) -> None:
    """Pruning keeps just the words that a plain second implementation keeps, and the totals."""
    words = words | {EDIT_TOTALS: totals}
    assert pruned(words) == {
        word: count
        for word, count in words.items()
        if word == EDIT_TOTALS or keeps(*map(np.float32, (*count, *totals)))
    }


def keeps(g: np.float32, b: np.float32, good: np.float32, bad: np.float32) -> bool:
    """Tell by the contract's words whether a word is kept."""
    with np.errstate(all="ignore"):
        p = (b / bad) / (b / bad + g / good)
        return bool(g + b >= 3 and not abs(np.float32(0.5) - p) < np.float32(0.15))


@pytest.mark.parametrize(
    ("count", "is_kept"),
    [
        pytest.param((3, 0), True, id="good only"),
        pytest.param((2, 0), False, id="two edits"),
        pytest.param((7, 13), True, id="p is 0.65 in 32 bits: 0.15 away"),
        pytest.param((8, 12), False, id="p is 0.6"),
        pytest.param((9, 9), False, id="p is 0.5"),
    ],
)
def test_pruning_by_hand(count: tuple[int, int], is_kept: bool) -> None:  # noqa: FBT001 - a table
    """Of a hundred good and a hundred bad edits, by hand."""
    assert (b"w" in pruned(edits(100, 100) | {b"w": count})) == is_kept


def test_one_kind_of_edits() -> None:
    """Where all edits are bad p is not a number, and words of three edits are kept."""
    words = edits(0, 5) | {b"thrice": (0, 3), b"twice": (0, 2)}
    assert list(pruned(words)) == [EDIT_TOTALS, b"thrice"]
    assert all(map(math.isnan, vandalism_shares(words).values()))
