"""``python -m cbngtrain.evaluation PROGRAM ARGS…``: report on a trial, compare trials, spread."""

import importlib
import os
import sys
from collections.abc import Sequence

from cbngtrain.evaluation.errors import EvaluationError

PROGRAMS = {
    "report": "cbngtrain.evaluation.report",
    "compare": "cbngtrain.evaluation.compare",
    "spread": "cbngtrain.evaluation.spread",
}
"""Program → the module whose ``main(args)`` runs it; only that one is imported."""

USAGE = f"usage: python -m cbngtrain.evaluation {{{','.join(PROGRAMS)}}} ARGS…"


def main(argv: Sequence[str]) -> int:
    """
    Run the program named first in *argv*.

    Returns:
        The exit status: 0 done; 2 bad input or usage, told in one line on standard error; 130
        stopped by Ctrl-C.
    """
    if not argv or argv[0] in {"-h", "--help"}:
        print(USAGE)
        return 0 if argv else 2
    program, *args = argv
    try:
        _run(program, args)
    except EvaluationError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _run(program: str, args: Sequence[str]) -> None:
    """Run *program*; a reader that has seen enough of its output is no failure."""
    if program not in PROGRAMS:
        raise EvaluationError(f"no such program; {USAGE}")
    try:
        importlib.import_module(PROGRAMS[program]).main(args)
        print(end="", flush=True)
    except MemoryError as error:
        raise EvaluationError("what it is given needs more memory than there is") from error
    except OSError as error:  # of standard output: with other files it is an EvaluationError
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise EvaluationError(f"output: {error.strerror or error}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
