"""Directories for the time of a build."""

from pathlib import Path

import pytest

from cbngtrain.errors import DispatchError
from cbngtrain.scratch import Scratch


def test_full_disk_is_one_sentence(tmp_path: Path):
    """What the file system refuses in a scratch directory says what, why and where."""
    scratch = Scratch(tmp_path / "scratch")

    with (
        pytest.raises(DispatchError, match=r"ann:one: No space left on device \(.*scratch\)"),
        scratch.directory("ann:one"),
    ):
        Path("/dev/full").write_bytes(b"more than nothing")

    assert list((tmp_path / "scratch").iterdir()) == []
