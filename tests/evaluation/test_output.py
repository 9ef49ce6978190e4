"""Results appear all together or not at all."""

from pathlib import Path

import pytest

from cbngtrain.evaluation.errors import EvaluationError
from cbngtrain.evaluation.output import json_text, whole_folder


def _write(out: Path, error: Exception | None = None) -> None:
    """Write a file, then fail if told to."""
    with whole_folder(out) as folder:
        (folder / "new").write_text("new", encoding="utf-8")
        raise_if(error)


def raise_if(error: Exception | None) -> None:
    """Raise *error*, if it is one."""
    if error:
        raise error


def test_files_are_moved_when_all_are_there(tmp_path: Path):
    """Beside those that were there before; no other trace is left."""
    (tmp_path / "old").touch()

    _write(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_a_failure_leaves_nothing(tmp_path: Path):
    """Neither files nor the folder that was made for them."""
    with pytest.raises(ValueError, match="a bug"):
        _write(tmp_path / "out", ValueError("a bug"))

    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_what_was_there(tmp_path: Path):
    """A full disk is one sentence, and old results stay."""
    (tmp_path / "old").touch()

    with pytest.raises(EvaluationError, match="cannot be written: No space left"):
        _write(tmp_path, OSError(28, "No space left on device"))

    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_no_nan_is_written():
    """It is no JSON."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({"value": float("nan")})
