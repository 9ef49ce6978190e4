"""A clock that was wrong once."""

import pytest

from tests.conftest import Site, edits


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("2099-01-01 00:00:00", "2099-01-01 00:00:01"),
        ("2099-02-31 23:59:59", "2099-03-04 00:00:00"),  # a script's own idea of a day
    ],
)
def test_instance_of_a_time_to_come_does_not_stay_the_latest(built: Site, name: str, after: str):
    """What is built after it is newer, whatever the clock says now, and is published once."""
    folder = built.base / "store" / "tree" / "Alpha"
    (folder / (folder / "latest").readlink()).rename(folder / name)
    (folder / "latest").unlink()
    (folder / "latest").symlink_to(name)
    built.dump(2, edits(100, 13))

    ended = built.run()

    assert f"Alpha/{name} is of a time to come; its next is {after}" in ended.out
    assert f"published Alpha/{after}" in ended.lines, ended
    assert str((folder / "latest").readlink()) == after
    assert built.run().lines[-1].startswith("Nothing to do: ")
