"""What two texts have in common: where one was changed to become the other."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

WORTH_ANCHORS = 512  # bytes between the common ends from which on lines are compared
MIN_ANCHOR = 24  # bytes of a line that is taken for the same place in both texts


@dataclass(frozen=True, slots=True)
class Region:
    """Where texts differ: *begin* to *end* of one, *old_begin* to *old_end* of the other."""

    begin: int
    end: int
    old_begin: int
    old_end: int


def regions(text: bytes, old: bytes, is_anchor: Callable[[bytes], object]) -> list[Region]:
    """
    Return where two texts differ, in order; all else they have in common.

    Between two regions there is at least one whole line of which *is_anchor* is true. Lines
    are taken for the same place in both texts if they are nowhere else between the common ends.
    """
    begin, common_end = common_ends(text, old)
    whole = Region(begin, len(text) - common_end, begin, len(old) - common_end)
    if min(whole.end - whole.begin, whole.old_end - whole.old_begin) < WORTH_ANCHORS:
        return [whole]
    return [
        trimmed
        for region in _between_anchors(text, old, whole, is_anchor)
        if (trimmed := _trimmed(text, old, region))
    ]


def _between_anchors(
    text: bytes, old: bytes, whole: Region, is_anchor: Callable[[bytes], object]
) -> Iterator[Region]:
    places = _once(text, whole.begin, whole.end)
    old_places = _once(old, whole.old_begin, whole.old_end)
    begin, old_begin = whole.begin, whole.old_begin
    for line, place in places.items():
        old_place = old_places.get(line, -1)
        if old_place < old_begin or not is_anchor(line):
            continue  # not there, or before what is known to be the same
        if place > begin or old_place > old_begin:
            yield Region(begin, place, old_begin, old_place)
        begin, old_begin = place + len(line), old_place + len(line)
    yield Region(begin, whole.end, old_begin, whole.old_end)


def _once(text: bytes, begin: int, end: int) -> dict[bytes, int]:
    """Lines (with their newline) that are there once between the bytes → where, in order."""
    lines = text[begin:end].splitlines(keepends=True)
    counts = Counter(lines)
    places = {}
    for index, line in enumerate(lines):
        if 0 < index < len(lines) - 1 and len(line) >= MIN_ANCHOR and counts[line] == 1:
            places[line] = begin
        begin += len(line)
    return places


def _trimmed(text: bytes, old: bytes, region: Region) -> Region | None:
    """The region without what its texts have in common at the ends; None if that is all."""
    ours, theirs = text[region.begin : region.end], old[region.old_begin : region.old_end]
    if ours == theirs:
        return None
    at_begin, at_end = common_ends(ours, theirs)
    return Region(
        region.begin + at_begin,
        region.end - at_end,
        region.old_begin + at_begin,
        region.old_end - at_end,
    )


def common_ends(text: bytes, old: bytes) -> tuple[int, int]:
    """How many bytes the texts have in common at the beginning, and of the rest at the end."""
    begin = 0
    end = min(len(text), len(old))
    while begin < end:
        middle = (begin + end + 1) // 2
        if text[begin:middle] == old[begin:middle]:
            begin = middle
        else:
            end = middle - 1
    low, high = 0, min(len(text), len(old)) - begin
    while low < high:  # the last *low* bytes are equal, no more than *high* are
        middle = (low + high + 1) // 2
        ours = text[len(text) - middle : len(text) - low]
        if ours == old[len(old) - middle : len(old) - low]:
            low = middle
        else:
            high = middle - 1
    return begin, low
