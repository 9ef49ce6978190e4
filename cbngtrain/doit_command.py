"""What ``doit`` was asked to do, as far as it must be known before it does anything."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

from doit.cmd_base import DodoTaskLoader, DoitCmdBase
from doit.cmd_list import List
from doit.cmd_run import Run

from cbngtrain.errors import PlanError, instead

OTHER_COMMANDS = frozenset(
    {"clean", "dumpdb", "forget", "help", "ignore", "info", "list", "reset-dep", "tabcompletion"}
)
"""Commands of doit that run no tasks: they need no network."""

READERS = frozenset({"dumpdb", "help", "info", "list", "tabcompletion"})
"""Commands of doit that change nothing: they need not wait for a build."""

_RUNNERS = frozenset({"run", "strace"})
_OPTIONS = (
    *DoitCmdBase.base_options, *DodoTaskLoader.cmd_options, *Run.cmd_options, *List.cmd_options
)  # fmt: skip
_WITH_VALUE = frozenset(
    dashes + option[length]
    for option in _OPTIONS if option["type"] in {int, str}
    for dashes, length in (("-", "short"), ("--", "long")) if option.get(length)
)  # fmt: skip

_NEGATIVE = re.compile(r" (?:-[a-zA-Z]*n|--p[a-z]*)[ =]?-[0-9]+")  # as getopt lets it be written


def doit_command(arguments: Sequence[str]) -> str:
    """Return the command that ``doit ARGUMENTS`` runs: ``run`` where none is named."""
    word = next(_words(arguments), "run")
    return word if word in OTHER_COMMANDS else "run"


def _words(arguments: Sequence[str]) -> Iterator[str]:
    """Yield what is neither an option, nor its value, nor a variable."""
    rest = iter(arguments)
    for word in rest:
        if word in _WITH_VALUE:
            next(rest, None)
        elif not word.startswith("-") and "=" not in word:
            yield word


def refuse_unknown(arguments: Sequence[str], tasks: Iterable[Mapping[str, Any]]) -> None:
    """
    Raise PlanError, with what may be meant, where ``doit ARGUMENTS`` names what is none of *tasks*.

    doit itself takes a pattern that matches nothing, or a negative number of processes, for a build
    of nothing, and some of its commands answer an unknown name, or none, with a traceback.
    """
    command = doit_command(arguments)
    if negative := _NEGATIVE.search(" ".join(["", *arguments])):
        raise PlanError(f"`doit{negative[0]}` would run no step; -n takes how many run at once")
    named = list(_words(arguments))
    if named[:1] and named[0] in OTHER_COMMANDS | _RUNNERS:
        del named[0]
    if command == "forget" and not named and not {"-a", "--all"}.intersection(arguments):
        raise PlanError("`doit forget` wants the names of tasks, or --all")
    known = dict.fromkeys(name for task in tasks for name in _names(task, command))
    for word in named if command != "help" else ():
        is_known = any(fnmatch(name, word) for name in known) if "*" in word else word in known
        if not is_known:
            what = "task" if command in OTHER_COMMANDS else "task, command or target"
            raise PlanError(f"{word!r} is no {what}; {instead(word, _choices(word, known))}")


def _choices(word: str, known: Iterable[str]) -> list[str]:
    """Return what may be meant by *word*: the tasks of its kind, else anything."""
    kind = word.partition(":")[0]
    alike = [name for name in known if name.startswith(f"{kind}:")]
    return alike or [*known, *OTHER_COMMANDS]


def _names(task: Mapping[str, Any], command: str) -> Iterator[str]:
    """Yield what *task* may be named by: its targets only where tasks are run."""
    name, basename = task["name"], task["basename"]
    yield f"{basename}:{name}" if name else basename
    if command == "run":
        yield from task.get("targets", ())
