"""Canonical forms: what an artifact means, against a second spelling of each form."""

import functools
import io
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cbngtrain.canonical import FORMS, digest_of, read_bayes_db
from cbngtrain.errors import DispatchError, SettingsError
from tests.step_outputs import sha256, shell, two, write_bayes_db

in_one_directory = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # every example writes its own file anew


def meaning(form: str, path: Path, text: bytes) -> str:
    """The meaning of a file with these bytes."""
    path.write_bytes(text)
    return FORMS[form](path)


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
