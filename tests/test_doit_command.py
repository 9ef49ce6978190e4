"""What doit was asked to do."""

import pytest

from cbngtrain.doit_command import doit_command


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], "run"),
        (["run"], "run"),
        (["ann:alpha"], "run"),
        (["-n", "4", "ann:alpha"], "run"),
        (["-f", "dodo.py", "list"], "list"),
        (["x=1", "list", "--all"], "list"),
        (["--file=dodo.py", "clean", "-a"], "clean"),
        (["info", "ann:alpha"], "info"),
        (["-n", "list"], "run"),
    ],
    ids=" ".join,
)
def test_command_is_the_one_that_doit_runs(arguments: list[str], command: str):
    """The command is the first word that is neither an option, its value, nor a variable."""
    assert doit_command(arguments) == command
