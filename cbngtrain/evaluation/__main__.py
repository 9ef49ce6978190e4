"""``python -m cbngtrain.evaluation PROGRAM ARGS…``: report on a trial, compare trials, spread."""

import importlib
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
        The exit status: 0 done; 2 bad input or usage, told in one line on standard error.
    """
    if not argv or argv[0] in {"-h", "--help"}:
        print(USAGE)
        return 0 if argv else 2
    program, *args = argv
    if program not in PROGRAMS:
        print(f"{program}: no such program; {USAGE}", file=sys.stderr)
        return 2
    try:
        importlib.import_module(PROGRAMS[program]).main(args)
    except EvaluationError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
