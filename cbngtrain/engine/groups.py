"""
Groups: what is equal within a row brought together, of many rows at once.

Rows are parts of one array, one after another: *starts*, shape (n_rows + 1,), tells where each
begins, and where the last one ends.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine.vocabulary import Ints

LONG_ROW = 1 << 16  # items above which one sort of a row is quicker than one per key (measured)

PLACES_PER_ITEM = 2  # of a table of groups, at most; else sorting is as quick (measured)

_FEW_RANGES = 16  # which are quicker to take one by one

_RADIX = 1 << 16  # numpy sorts 16-bit numbers by radix, ten times as fast as others


@dataclass(frozen=True, slots=True)
class Groups:
    """
    Groups of equal items, row by row; within a row ordered by what is equal.

    Attributes:
        starts: Where each row's groups begin, shape (n_rows + 1,).
        keys: What the items of each group have in common, shape (n_groups,) each.
        sums: Of what the items count, shape (n_groups,).
    """

    starts: Ints
    keys: list[Ints]
    sums: Ints

    def where(self, which: NDArray[np.bool_]) -> "Groups":
        """Some of the groups."""
        if which.all():
            return self
        keys = [key[which] for key in self.keys]
        return Groups(kept(self.starts, which), keys, self.sums[which])


def grouped(starts: Ints, keys: Sequence[Ints], counts: Ints | None = None) -> Groups:
    """
    Group items whose keys are all equal.

    Args:
        starts: Of the rows of items.
        keys: One or more arrays, shape (n_items,), of numbers from -1 on.
        counts: What each item counts, shape (n_items,); 1 if not given.
    """
    return (
        _each_by_itself(starts, keys, counts)
        or _tabled(starts, keys, counts)
        or _ordered_at_once(starts, keys, counts)
        or _ordered(starts, keys, counts)
    )


def rows_of(starts: Ints) -> Ints:
    """The row of each item, shape (n_items,)."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def starts_of(sizes: Ints | NDArray[np.bool_]) -> Ints:
    """Where rows of so many items begin, shape (n_rows + 1,)."""
    return np.concatenate(([0], np.cumsum(sizes)))


def in_ranges(items: Ints, begins: Ints, sizes: Ints) -> Ints:
    """The items of ranges, one range after another."""
    if len(sizes) > _FEW_RANGES:
        starts = starts_of(sizes)
        places: Ints = np.arange(starts[-1]) + np.repeat(begins - starts[:-1], sizes)
        return items[places]
    ends = begins + sizes
    each = [items[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]
    return each[0] if len(each) == 1 else np.concatenate([items[:0], *each])


def followed(before: Ints, after: Ints) -> Ints:
    """Items and those after them; copied only if there are any before."""
    return np.concatenate([before, after]) if len(before) else after


def kept(starts: Ints, which: NDArray[np.bool_]) -> Ints:
    """Where rows begin when only some of their items are kept."""
    return np.searchsorted(np.flatnonzero(which), starts)


def _each_by_itself(starts: Ints, keys: Sequence[Ints], counts: Ints | None) -> Groups | None:
    """The groups of items that are ordered, no two equal: many sets of words are made so."""
    first_key, *others = keys
    if len(first_key) < LONG_ROW or others:
        return None
    is_first = np.append(True, first_key[1:] > first_key[:-1])
    is_first[starts[:-1][starts[:-1] < len(first_key)]] = True
    if not is_first.all():
        return None
    return Groups(starts, [first_key], np.ones_like(first_key) if counts is None else counts)


def _tabled(starts: Ints, keys: Sequence[Ints], counts: Ints | None) -> Groups | None:
    """The groups by a table with a place for each that there could be, if it is a small one."""
    n_items, n_rows = starts[-1], len(starts) - 1
    if n_items < LONG_ROW:
        return None
    sizes = [int(key.max(initial=-1)) + 2 for key in keys]
    n_groups = n_rows * math.prod(sizes)
    if n_groups > n_items * PLACES_PER_ITEM:
        return None
    first_key, *others = keys
    each = np.repeat(np.arange(n_rows) * sizes[0] + 1, np.diff(starts))
    each += first_key
    for key, size in zip(others, sizes[1:], strict=True):
        each *= size
        each += key
        each += 1
    sums = np.bincount(each, counts, n_groups).astype(np.int64, copy=False)
    is_there = np.zeros(n_groups, np.bool_)
    is_there[each] = True
    found = np.flatnonzero(is_there)
    starts = np.searchsorted(found, np.arange(n_rows + 1) * (n_groups // n_rows))
    sums = sums[found]
    found_keys = []
    for size in reversed(sizes):
        found, key = np.divmod(found, size)
        found_keys.append(key - 1)
    return Groups(starts, found_keys[::-1], sums)


def _ordered_at_once(starts: Ints, keys: Sequence[Ints], counts: Ints | None) -> Groups | None:
    """The groups of long rows: row, keys and count of each item as one number, if they fit."""
    if np.diff(starts).max(initial=0) <= LONG_ROW:
        return None
    least = 0 if counts is None else int(counts.min())
    width_of_count = 0 if counts is None else int(counts.max() - least).bit_length()
    widths = [int(key.max() + 1).bit_length() for key in keys]
    if (len(starts) - 2).bit_length() + sum(widths) + width_of_count >= 64:
        return None
    each = rows_of(starts)
    for key, width in zip(keys, widths, strict=True):
        each <<= width
        each += key
        each += 1
    if counts is not None:
        each <<= width_of_count
        each += counts
        each -= least
    if (each[1:] < each[:-1]).any():
        each.sort()
    item = each >> width_of_count
    firsts = np.flatnonzero(np.append(True, item[1:] != item[:-1]))
    each &= (1 << width_of_count) - 1
    sums = _sums(firsts, len(each), None if counts is None else each + least)
    found, found_keys = item[firsts], []
    for width in reversed(widths):
        found_keys.append((found & ((1 << width) - 1)) - 1)
        found >>= width
    return Groups(np.searchsorted(firsts, starts), found_keys[::-1], sums)


def _ordered(starts: Ints, keys: Sequence[Ints], counts: Ints | None) -> Groups:
    """The groups by a sort of each row for each key."""
    order = _order(starts, keys)
    is_first = np.zeros(len(order), np.bool_)
    is_first[starts[:-1][starts[:-1] < len(order)]] = True
    for key in keys:
        sorted_key = key[order]
        is_first[1:] |= sorted_key[1:] != sorted_key[:-1]
    firsts = np.flatnonzero(is_first)
    sums = _sums(firsts, len(order), None if counts is None else counts[order])
    found_keys = [key[order[firsts]] for key in keys]
    return Groups(np.searchsorted(firsts, starts), found_keys, sums)


def _sums(firsts: Ints, n_items: int, counts: Ints | None) -> Ints:
    """The sums of what items count, 1 if not given, from each first one to the next."""
    if counts is None:
        return np.diff(firsts, append=n_items)
    return np.add.reduceat(counts, firsts) if len(firsts) else counts[:0]


def _order(starts: Ints, keys: Sequence[Ints]) -> Ints:
    """The items of each row ordered by their keys, the first key first; shape (n_items,)."""
    *others, last = [_narrow(key) for key in keys]
    order = np.empty(len(last), np.int64)
    for begin, end in pairwise(starts.tolist()):
        row = last[begin:end].argsort(kind="stable")
        for key in reversed(others):
            row = row[key[begin:end][row].argsort(kind="stable")]
        np.add(row, begin, out=order[begin:end])
    return order


def _narrow(key: Ints) -> NDArray[np.integer]:
    """The same numbers plus one, in 16 bits if they fit."""
    if len(key) and key.max() < _RADIX - 1:
        return (key + 1).astype(np.uint16)
    return key
