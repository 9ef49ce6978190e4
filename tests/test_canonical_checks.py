"""Checks of outputs: what is good passes, what is cut, garbage or miscounted is refused."""

from pathlib import Path

import pytest

from cbngtrain.canonical import CHECKS, artifact_of
from cbngtrain.dump import canonicalise
from cbngtrain.errors import FormatError
from cbngtrain.recipes import ANN
from tests.conftest import dump, edits
from tests.step_outputs import (
    BAD,
    DETAILS,
    GOOD,
    NETWORK,
    ROWS,
    TOTALS,
    WORDS,
    sha256,
    two,
    write_bayes_db,
)


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


@pytest.mark.parametrize(("check", "text"), GOOD)
def test_good_output_passes(directory: Path, check: str, text: bytes):
    """What it should be is accepted."""
    checked(check, directory, text)


@pytest.mark.parametrize(("check", "text", "told"), BAD, ids=lambda value: str(value)[-50:])
def test_bad_output_is_refused(directory: Path, check: str, text: bytes, told: str):
    """What is cut, garbage, miscounted or empty is refused, with the file and the line."""
    with pytest.raises(FormatError) as error:
        checked(check, directory, text)

    assert str(error.value).startswith(told)


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
