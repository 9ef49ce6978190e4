"""What ``doit`` was asked to do, as far as it must be known before its tasks are made."""

from collections.abc import Sequence

OTHER_COMMANDS = frozenset(
    {"clean", "dumpdb", "forget", "help", "ignore", "info", "list", "reset-dep", "tabcompletion"}
)
"""Commands of doit that run no tasks: they need no network."""

READERS = frozenset({"dumpdb", "help", "info", "list", "tabcompletion"})
"""Commands of doit that change nothing: they need not wait for a build."""

_WITH_VALUE = frozenset(
    {"-f", "--file", "-d", "--dir", "--db-file", "--backend", "-n", "--process"}
)


def doit_command(arguments: Sequence[str]) -> str:
    """Return the command that ``doit ARGUMENTS`` runs: ``run`` where none is named."""
    words = iter(arguments)
    for word in words:
        if word in _WITH_VALUE:
            next(words, None)
        elif not word.startswith("-") and "=" not in word:
            return word if word in OTHER_COMMANDS else "run"
    return "run"
