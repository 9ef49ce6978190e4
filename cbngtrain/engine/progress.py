"""Progress, for who watches."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STANDARD_ERROR = 2


@contextmanager
def progress(unit: str) -> Iterator[Callable[[int], object]]:
    """Yield what is told how many more are done: a bar, where standard error is a terminal."""
    if not os.isatty(STANDARD_ERROR):
        yield lambda _: None
        return
    from tqdm import tqdm  # noqa: PLC0415  # to load it takes a tenth of a start

    with tqdm(unit=unit, leave=False) as bar:
        yield bar.update
