"""Equal 64-bit hashes brought together."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]


class Together(NamedTuple):
    """
    Items in an order in which those of equal hashes stand together, shape (n_items,) each.

    Attributes:
        order: The items; of equal ones the first one first.
        is_first: Whether the item at each place of the order is the first of its hash.
    """

    order: NDArray[np.int64]
    is_first: NDArray[np.bool_]


def together(hashes: Hashes) -> Together:
    """
    Bring equal hashes together.

    Of a hash as many low bits are not looked at as the number of items has.
    """
    n = len(hashes)
    bits = np.uint64(n.bit_length())
    # Hash and index in one number: sorting it is three times as fast as argsort (measured).
    keys = hashes >> bits << bits | np.arange(n, dtype=np.uint64)
    keys.sort()
    order = (keys & ((np.uint64(1) << bits) - np.uint64(1))).view(np.int64)
    keys >>= bits
    is_first = np.ones(n, np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
    return Together(order, is_first)


def together_by_all(hashes: Hashes) -> Together:
    """Bring equal hashes together, all of whose bits are looked at."""
    order = hashes.argsort(kind="stable")
    is_first = np.ones(len(hashes), np.bool_)
    np.not_equal(hashes[order][1:], hashes[order][:-1], out=is_first[1:])
    return Together(order, is_first)
