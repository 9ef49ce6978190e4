"""``python -m cbngtrain.engine PROGRAM ARGS…``: the native core's programs, by their names."""

import errno
import gc
import importlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from cbngtrain.engine.errors import EngineError

PROGRAMS = {
    "cluebotng": "cbngtrain.engine.cluebotng",
    "create_bayes_db": "cbngtrain.engine.create_bayes_db",
    "print_bayes_db": "cbngtrain.engine.print_bayes_db",
    "create_ann": "cbngtrain.engine.create_ann",
}
"""Program → the module whose ``main(args, env)`` runs it; only that one is imported."""

OF_WRITING = {errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC}
"""What the system says when it takes no more of a file; here of standard output."""

USAGE = f"usage: python -m cbngtrain.engine {{{','.join(PROGRAMS)}}} ARGS…"


def main(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """
    Run the program named first in *argv*.

    Returns:
        The exit status: 0 done; 2 bad input or usage, told in one line on standard error; 130
        stopped by Ctrl-C.

    Raises:
        SystemExit: SIGTERM came; unfinished files are gone, as after any error.
    """
    if not argv or argv[0] in {"-h", "--help"}:
        print(USAGE, file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    program, *args = argv
    if program not in PROGRAMS:
        print(f"{program}: no such program; {USAGE}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _stop)
    try:
        status: int = importlib.import_module(PROGRAMS[program]).main(args, env)
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except EngineError as error:
        status = _failed(program, " ".join(str(error).splitlines()))
    except MemoryError:
        status = _failed(program, "what it is given needs more memory than there is")
    except BrokenPipeError:
        status = _failed(program, "nobody reads what it prints; stopped")
    except OSError as error:  # files name theirs
        where = "standard output: cannot be written: " if error.errno in OF_WRITING else ""
        status = _failed(program, f"{where}{error.strerror or error}")
    _drop_what_cannot_be_printed()
    return status


def _failed(program: str, problem: str) -> int:
    print(f"{program}: {problem}", file=sys.stderr)
    return 2


def _drop_what_cannot_be_printed() -> None:
    """Have the interpreter not complain, at its end, of a standard output that takes nothing."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stop(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    # No threads of OpenBLAS's: none is needed (see blas.py), and to start them when numpy is
    # imported took a tenth of a start.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    # Standard output and error that are closed (`>&-`) take the place of no file that is opened.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    # What is loaded stays to the end, and work leaves little to collect: looking for it took a
    # seventh of a start.
    gc.disable()
    status = main(sys.argv[1:], os.environ)
    gc.freeze()  # nor need the interpreter look when it ends
    sys.exit(status)
