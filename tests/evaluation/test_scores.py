"""Reading what was scored."""

from pathlib import Path

import pytest

from cbngtrain.evaluation.errors import EvaluationError, FormatError
from cbngtrain.evaluation.scores import read_details, read_ids
from tests.evaluation.trials import drawn, written

GOOD = "editid=7, isvandalism=true, score=0.5, main_bayes_score=0\n"


def test_details_become_arrays(tmp_path: Path):
    """What is written is read again, in the same order."""
    of = drawn(5, 7)

    read = read_details(written(of, tmp_path / "details.txt"))

    assert read.ids == of.ids
    assert read.vandalism.tolist() == of.vandalism.tolist()
    assert read.scores.tolist() == of.scores.tolist()


def test_an_empty_file_is_a_trial_without_edits(tmp_path: Path):
    """No line, no edit."""
    (tmp_path / "details.txt").touch()

    assert read_details(tmp_path / "details.txt").ids == ()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        pytest.param("nonsense\n", "has no editid: 'nonsense'", id="nonsense"),
        pytest.param("\n", "has no editid: ''", id="empty line"),
        pytest.param("editid=7, isvandalism=true\n", "has no score", id="cut"),
        pytest.param(GOOD.replace("true", "yes"), "neither true nor false: 'yes'", id="truth"),
        pytest.param(GOOD.replace("0.5", "much"), "the score is no number: 'much'", id="text"),
        pytest.param(GOOD.replace("0.5", "-nan"), "the score is not in 0…1: '-nan'", id="NaN"),
        pytest.param(GOOD.replace("0.5", "inf"), "not in 0…1: 'inf'", id="infinity"),
        pytest.param(GOOD.replace("0.5", "1.01"), "not in 0…1: '1.01'", id="above 1"),
        pytest.param(GOOD.replace("0.5", "-0.1"), "not in 0…1: '-0.1'", id="below 0"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, problem: str):
    """File, line and problem are told."""
    path = tmp_path / "details.txt"
    path.write_text(GOOD + line + GOOD, encoding="utf-8")

    with pytest.raises(FormatError) as caught:
        read_details(path)

    assert str(caught.value).startswith(f"{path}: line 2: ")
    assert problem in str(caught.value)


def test_a_cut_line_is_named(tmp_path: Path):
    """Half a score is a number too, but not the one that was written."""
    path = tmp_path / "details.txt"
    path.write_text(GOOD + "editid=8, isvandalism=true, score=0.0", encoding="utf-8")

    with pytest.raises(FormatError, match="line 2: is cut"):
        read_details(path)


@pytest.mark.parametrize("read", [read_details, read_ids], ids=["details", "ids"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, read):
    """No traceback for a wrong path."""
    with pytest.raises(EvaluationError, match=r"gone\.txt: cannot be read: No such file"):
        read(tmp_path / "gone.txt")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("3\n\n 5 \n7", id="one a line"),
        pytest.param(
            "<WPEditSet>\n<WPEdit>\n<EditID>3</EditID>\n<comment>4</comment></WPEdit>\n"
            "<WPEdit><EditID> 5 </EditID></WPEdit><WPEdit><EditID>7</EditID></WPEdit>\n"
            "</WPEditSet>",
            id="edit set",
        ),
    ],
)
def test_names_of_edits_are_read(tmp_path: Path, text: str):
    """From a list, or from the edit set itself."""
    (tmp_path / "ids").write_text(text, encoding="utf-8")

    assert read_ids(tmp_path / "ids") == {"3", "5", "7"}


def test_edits_told_of_twice_are_counted(tmp_path: Path):
    """A dump may repeat an edit."""
    (tmp_path / "details.txt").write_text(GOOD * 3, encoding="utf-8")

    assert read_details(tmp_path / "details.txt").repeated == 2
