"""How often words occur in each set of a column, as arrays."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine.groups import grouped, kept
from cbngtrain.engine.vocabulary import Ints

Bools = NDArray[np.bool_]


class Counts(NamedTuple):
    """
    How often words occur in each set of a column.

    Attributes:
        starts: Where each set's words begin, shape (n_sets + 1,).
        ids: The words of each set, no two equal, in the order of their ids; shape (n_words,).
        times: How often each occurs, shape (n_words,).
    """

    starts: Ints
    ids: Ints
    times: Ints

    def where(self, which: Bools) -> "Counts":
        """Some of the words of each set."""
        if which.all():
            return self
        return Counts(kept(self.starts, which), self.ids[which], self.times[which])


def summed(starts: Ints, ids: Ints, times: Ints) -> Counts:
    """The counts of words that may occur several times in a set."""
    groups = grouped(starts, [ids], times)
    return Counts(groups.starts, groups.keys[0], groups.sums)
