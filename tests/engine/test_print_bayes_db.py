"""``print_bayes_db``, on its command line."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from cbngtrain.engine.bayes import EDIT_TOTALS, write_database
from cbngtrain.engine.print_bayes_db import database_text

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="../shared is not here")

PROGRAM = (sys.executable, "-m", "cbngtrain.engine", "print_bayes_db")


def run(*args: object) -> "subprocess.CompletedProcess[bytes]":
    """Run the program."""
    return subprocess.run([*PROGRAM, *map(str, args)], capture_output=True, check=False)


@needs_golden
@pytest.mark.parametrize(
    "database",
    ["real/data/bayes.db", "n50/data/two_bayes.db", "n400/data/bayes.db", "shipped/bayes.db"],
)
def test_golden(database: str, tmp_path: Path) -> None:
    """The native core's databases print as the native core prints them, byte for byte."""
    path = tmp_path / "x.db"
    path.write_bytes(gzip.decompress((GOLDEN / f"{database}.gz").read_bytes()))
    ended = run(path)
    assert ended.stdout == (GOLDEN / f"{database}.txt").read_bytes()
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        pytest.param({EDIT_TOTALS: (4, 4)}, b"", id="no words"),
        pytest.param(
            {EDIT_TOTALS: (4, 4), b"b": (0, 3), b"a": (0, 4), b"z y": (3, 0)},
            b"z y 0 3 0\na 1 0 4\nb 1 0 3\n",
            id="by score, then word",
        ),
        pytest.param(
            {EDIT_TOTALS: (3, 7), b"x": (1, 1)}, b"x 0.3 1 1\n", id="six significant digits"
        ),
        pytest.param(
            {EDIT_TOTALS: (9, 100_000), b"x": (9, 1)}, b"x 9.9999e-06 9 1\n", id="exponent"
        ),
        pytest.param(
            {EDIT_TOTALS: (0, 5), b"b": (0, 3), b"a": (0, 5)},
            b"a -nan 0 5\nb -nan 0 3\n",
            id="only bad edits",
        ),
        pytest.param({EDIT_TOTALS: (4, 4), b"\xff\x80": (0, 3)}, b"\xff\x80 1 0 3\n", id="bytes"),
    ],
)
def test_text(words: dict[bytes, tuple[int, int]], text: bytes) -> None:
    """The lines are word, score, good and bad."""
    assert database_text(words) == text


def test_missing() -> None:
    """A database that does not exist: one line on standard error, exit status 2, no output."""
    ended = run("nowhere.db")
    assert ended.stderr == b"print_bayes_db: nowhere.db: does not exist\n"
    assert (ended.returncode, ended.stdout) == (2, b"")


def test_usage() -> None:
    """Without its argument it tells how it is used."""
    ended = run()
    assert ended.stderr == b"print_bayes_db: usage: print_bayes_db FILE.db\n"
    assert ended.returncode == 2


def test_reader_that_leaves(tmp_path: Path) -> None:
    """A reader that has seen enough, as ``head`` has, is no error."""
    words = {EDIT_TOTALS: (5, 5)} | {b"a long word %d" % i: (9, 0) for i in range(20_000)}
    write_database(tmp_path / "x.db", words)
    with subprocess.Popen(
        [*PROGRAM, tmp_path / "x.db"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"a long word 0 0 9 0\n"
        process.stdout.close()
        assert process.stderr
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_disk(tmp_path: Path) -> None:
    """A full disk behind standard output is one line and exit status 2."""
    write_database(tmp_path / "x.db", {EDIT_TOTALS: (5, 5), b"a": (3, 0)})
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*PROGRAM, tmp_path / "x.db"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert ended.stderr == (
        b"print_bayes_db: standard output: cannot be written: No space left on device\n"
    )
    assert ended.returncode == 2
