"""``python -m cbngtrain.engine PROGRAM ARGS…``: the native core's programs, by their names."""

import importlib
import os
import sys
from collections.abc import Mapping, Sequence

from cbngtrain.engine.errors import EngineError

PROGRAMS = {
    "cluebotng": "cbngtrain.engine.cluebotng",
    "create_bayes_db": "cbngtrain.engine.create_bayes_db",
    "print_bayes_db": "cbngtrain.engine.print_bayes_db",
    "create_ann": "cbngtrain.engine.create_ann",
}
"""Program → the module whose ``main(args, env)`` runs it; only that one is imported."""

USAGE = f"usage: python -m cbngtrain.engine {{{','.join(PROGRAMS)}}} ARGS…"


def main(argv: Sequence[str], env: Mapping[str, str]) -> int:
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
        status: int = importlib.import_module(PROGRAMS[program]).main(args, env)
        sys.stdout.flush()
    except EngineError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        print(f"{program}: nobody reads what it prints; stopped", file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
