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

_NO_ITEM = -1

_FEW_RANGES = 16  # which are quicker to take one by one

_RADIX = 1 << 16  # numpy sorts 16-bit numbers by radix, ten times as fast as others


@dataclass(frozen=True, slots=True)
class Groups:
    """
    Groups of equal items, row by row; within a row ordered by what is equal.

    Attributes:
        starts: Where each row's groups begin, shape (n_rows + 1,).
        members: The place of one item of each group, shape (n_groups,).
        sums: Of what the items count, shape (n_groups,).
    """

    starts: Ints
    members: Ints
    sums: Ints


def grouped(starts: Ints, keys: Sequence[Ints], counts: Ints | None = None) -> Groups:
    """
    Group items whose keys are all equal.

    Args:
        starts: Of the rows of items.
        keys: One or more arrays, shape (n_items,), of numbers from -1 on.
        counts: What each item counts, shape (n_items,); 1 if not given.
    """
    if groups := _tabled(starts, keys, counts):
        return groups
    order, is_first = _ordered_at_once(starts, keys) or _ordered(starts, keys)
    firsts = np.flatnonzero(is_first)
    if counts is None:
        sums = np.diff(firsts, append=len(order))
    else:
        sums = np.add.reduceat(counts[order], firsts) if len(firsts) else counts[:0]
    return Groups(np.searchsorted(firsts, starts), order[firsts], sums)


def rows_of(starts: Ints) -> Ints:
    """The row of each item, shape (n_items,)."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def starts_of(sizes: Ints | NDArray[np.bool_]) -> Ints:
    """Where rows of so many items begin, shape (n_rows + 1,)."""
    return np.concatenate(([0], np.cumsum(sizes)))


def ranges(begins: Ints, sizes: Ints) -> Ints:
    """All numbers of ranges, one range after another: so many from each beginning on."""
    starts = starts_of(sizes)
    return np.arange(starts[-1]) + np.repeat(begins - starts[:-1], sizes)


def in_ranges(items: Ints, begins: Ints, sizes: Ints) -> Ints:
    """The items of ranges, one range after another."""
    if len(sizes) > _FEW_RANGES:
        return items[ranges(begins, sizes)]
    ends = begins + sizes
    each = [items[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]
    return np.concatenate([items[:0], *each])


def kept(starts: Ints, which: NDArray[np.bool_]) -> Ints:
    """Where rows begin when only some of their items are kept."""
    return np.searchsorted(np.flatnonzero(which), starts)


def _tabled(starts: Ints, keys: Sequence[Ints], counts: Ints | None) -> Groups | None:
    """The groups by a table with a place for each that there could be, if it is a small one."""
    n_items, n_rows = starts[-1], len(starts) - 1
    if n_items < LONG_ROW:
        return None
    sizes = [int(key.max(initial=-1)) + 2 for key in keys]
    n_groups = n_rows * math.prod(sizes)
    if n_groups > n_items * PLACES_PER_ITEM:
        return None
    each = rows_of(starts)
    for key, size in zip(keys, sizes, strict=True):
        each *= size
        each += key
        each += 1
    member = np.full(n_groups, _NO_ITEM)
    member[each] = np.arange(n_items)
    sums = np.bincount(each, counts, n_groups).astype(np.int64)
    found = np.flatnonzero(member != _NO_ITEM)
    row_bounds = np.arange(n_rows + 1) * (n_groups // n_rows)
    return Groups(np.searchsorted(found, row_bounds), member[found], sums[found])


def _ordered(starts: Ints, keys: Sequence[Ints]) -> tuple[Ints, NDArray[np.bool_]]:
    """The items of each row ordered by their keys; whether each is the first of its group."""
    order = _order(starts, keys)
    is_first = np.zeros(len(order), np.bool_)
    is_first[starts[:-1][starts[:-1] < len(order)]] = True
    for key in keys:
        sorted_key = key[order]
        is_first[1:] |= sorted_key[1:] != sorted_key[:-1]
    return order, is_first


def _ordered_at_once(starts: Ints, keys: Sequence[Ints]) -> tuple[Ints, NDArray[np.bool_]] | None:
    """The same, of long rows: row, keys and place of each item as one number, if they fit."""
    if np.diff(starts).max(initial=0) <= LONG_ROW:
        return None
    columns = [rows_of(starts) - 1, *keys]  # of numbers from -1 on
    bits = [int(column.max() + 1).bit_length() for column in columns]
    bits_of_place = int(starts[-1]).bit_length()
    if sum(bits) + bits_of_place >= 64:
        return None
    each = np.zeros(starts[-1], np.int64)
    for column, width in zip(columns, bits, strict=True):
        each = each << width | (column + 1)
    each = each << bits_of_place | np.arange(starts[-1])
    if (each[1:] < each[:-1]).any():
        each.sort()
    order = each & ((1 << bits_of_place) - 1)
    each >>= bits_of_place
    is_first = np.ones(starts[-1], np.bool_)
    np.not_equal(each[1:], each[:-1], out=is_first[1:])
    return order, is_first


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
