"""What doit was asked to do."""

import re

import pytest

from cbngtrain.doit_command import doit_command, refuse_unknown
from cbngtrain.errors import PlanError


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
        (["-o", "list", "ann:alpha"], "run"),
        (["--verbosity", "2", "ann:alpha"], "run"),
    ],
    ids=" ".join,
)
def test_command_is_the_one_that_doit_runs(arguments: list[str], command: str):
    """The command is the first word that is neither an option, its value, nor a variable."""
    assert doit_command(arguments) == command


TASKS = (
    {"basename": "ann", "name": None},
    {"basename": "ann", "name": "alpha", "targets": ["build/alpha/main_ann.fann"]},
    {"basename": "edit_set", "name": "alpha/train"},
)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["ann"],
        ["ann:alpha"],
        ["edit_set:*"],
        ["run", "build/alpha/main_ann.fann"],
        ["-n", "4", "-v", "2", "ann:alpha", "x=1"],
        ["info", "ann:alpha"],
        ["list", "--sort", "name", "ann"],
        ["help", "run"],
        ["reset-dep"],
    ],
    ids=" ".join,
)
def test_known_names_are_let_through(arguments: list[str]):
    """Tasks, their groups, patterns and targets; neither options nor their values."""
    refuse_unknown(arguments, TASKS)


@pytest.mark.parametrize(
    "arguments",
    [["ann:beta"], ["ann*x"], ["info", "build/alpha/main_ann.fann"], ["-n", "4", "beta"]],
    ids=" ".join,
)
def test_unknown_names_are_refused(arguments: list[str]):
    """A target is a name only where tasks are run."""
    with pytest.raises(PlanError, match=f"{re.escape(repr(arguments[-1]))} is no task"):
        refuse_unknown(arguments, TASKS)


@pytest.mark.parametrize(
    "arguments",
    [["-n", "-3"], ["-n-3"], ["-cn", "-1"], ["run", "--process=-2", "ann:alpha"]],
    ids=" ".join,
)
def test_negative_number_of_processes_is_refused(arguments: list[str]):
    """With it doit would run no step at all, and say that all was well."""
    with pytest.raises(PlanError, match="would run no step; -n takes how many run at once"):
        refuse_unknown(arguments, TASKS)


def test_forgetting_wants_to_know_what():
    """Of none doit makes a traceback, and of --all what it says."""
    with pytest.raises(PlanError, match="`doit forget` wants the names of tasks, or --all"):
        refuse_unknown(["forget"], TASKS)
    refuse_unknown(["forget", "--all"], TASKS)
