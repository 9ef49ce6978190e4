"""The threads of the library that computes numpy's matrix products."""

import ctypes
from importlib import import_module

_SETTERS = ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads")
"""What OpenBLAS calls the function, in numpy's own wheels and in Debian's library."""


def use_one_thread() -> None:
    """
    Let every matrix product be computed by the thread that asks for it, from now on.

    OpenBLAS's own threads wait for each other by spinning: on a busy machine they made training
    five times slower (measured), and beside threads of ours they always do. The variable that
    says the same, OPENBLAS_NUM_THREADS, is read once, when numpy is imported: programs set it, and
    who has imported numpy calls this. Where numpy uses another library nothing happens; training
    is then only slower.
    """
    core = import_module("numpy._core._multiarray_umath")  # linked to the library, so names show
    library = ctypes.CDLL(core.__file__)
    for name in _SETTERS:
        if hasattr(library, name):
            getattr(library, name)(1)
