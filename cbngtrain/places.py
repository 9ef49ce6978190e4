"""Where each edit of a dump lies, by EditID, in little memory: 26 bytes an edit."""

import heapq
from array import array
from collections.abc import Iterator
from itertools import chain

Place = tuple[int, int, int]
"""An EditID; where the edit begins, and its length, in bytes."""


class Places:
    """Places, added in any order and taken by ascending EditID: runs are sorted, then merged."""

    def __init__(self, run: int = 1 << 16) -> None:
        """*run*: how many are sorted at once; 65,536 take 13 MB before they are packed."""
        self._run = run
        self._packed: list[array[int]] = []
        self._new: list[Place] = []

    def add(self, place: Place) -> None:
        """Add *place*."""
        self._new.append(place)
        if len(self._new) == self._run:
            self._packed.append(array("q", chain.from_iterable(sorted(self._new))))
            self._new.clear()

    def __iter__(self) -> Iterator[Place]:
        """Yield all, by ascending EditID."""
        return heapq.merge(*map(_unpacked, self._packed), sorted(self._new))


def _unpacked(run: "array[int]") -> Iterator[Place]:
    numbers = iter(run)
    return zip(numbers, numbers, numbers, strict=True)
