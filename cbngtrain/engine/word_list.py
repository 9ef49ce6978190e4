"""
Word lists, ``main_bayes_train.dat`` and the like: in how many edits did each word occur?

A line is ``V word``: the word occurred in one edit, which was vandalism where V, read as C's
``atoi`` does, is not 0 (the core's create_bayes_db.cpp).
"""

import re
from collections import Counter
from pathlib import Path

from cbngtrain.engine.bayes import EDIT_TOTALS, WordCounts
from cbngtrain.engine.errors import FormatError

SHORTEST_LINE = 3  # bytes; shorter lines are skipped (the core's create_bayes_db.cpp)

_LONG_LIST = 8 << 20  # bytes, half a million lines: here arrays begin to be faster (measured)

_ATOI = re.compile(rb"[ \t\n\v\f\r]*([+-]?\d+)")


def word_counts(path: Path, least: int = 1) -> WordCounts:
    """
    Return how many good and bad edits each word of a list occurred in: word → (good, bad).

    Args:
        path: The list.
        least: Words in fewer edits may be left out, except `EDIT_TOTALS`.

    Raises:
        FormatError: The list is missing, empty, does not end with a newline (it was cut), or has
            no line for `EDIT_TOTALS`.
    """
    data = _bytes(path)
    words = counted(data, least)
    if EDIT_TOTALS not in words:
        raise FormatError(path, "line 1", f"no line is 'V {EDIT_TOTALS.decode()}': no word list")
    return words


def counted(data: bytes, least: int) -> WordCounts:
    """Return the words of a list with their counts, in the way that is fastest for it."""
    if not _is_plain(data):
        return counted_line_by_line(data)
    if len(data) < _LONG_LIST:
        return counted_plain_lines(data, least)
    # Imported here because numpy takes longer to import than a short list to be counted.
    from cbngtrain.engine.word_arrays import counted_as_arrays  # noqa: PLC0415

    words = counted_as_arrays(data, least)
    return counted_plain_lines(data, least) if words is None else words


def counted_line_by_line(data: bytes) -> WordCounts:
    """Return every word of any list with its counts."""
    words: WordCounts = {}
    for line, count in Counter(data.split(b"\n")).items():
        if entry := word_of(line):
            word, is_bad = entry
            good, bad = words.get(word, (0, 0))
            words[word] = (good, bad + count) if is_bad else (good + count, bad)
    return words


def counted_plain_lines(data: bytes, least: int) -> WordCounts:
    """
    Return the words of a plain list that occur in at least so many edits, and maybe others.

    Only lines that occur often enough themselves are looked at: of the good and the bad edits
    with a word, one kind must be half of them.
    """
    lines = Counter(data.split(b"\n"))
    times = lines.get  # twice as fast as lines[…], which asks Counter for what is missing
    words = {EDIT_TOTALS: (times(b"0 " + EDIT_TOTALS, 0), times(b"1 " + EDIT_TOTALS, 0))}
    for line, count in lines.items():
        if count > (least - 1) // 2:
            word = line[2:]
            if line.startswith(b"0"):
                words[word] = count, times(b"1 " + word, 0)
            else:
                words[word] = times(b"0 " + word, 0), count
    words.pop(b"", None)  # of empty lines, and lines without a word
    if not any(words[EDIT_TOTALS]):
        del words[EDIT_TOTALS]
    return words


def _is_plain(data: bytes) -> bool:
    """Tell whether all lines are as the core writes them: ``0 `` or ``1 ``, and no NUL."""
    starts = data.count(b"\n0 ") + data.count(b"\n1 ") + data.startswith((b"0 ", b"1 "))
    return starts == data.count(b"\n") and b"\0" not in data


def word_of(line: bytes) -> tuple[bytes, bool] | None:
    """
    Return a line's word and whether its edit was bad, or None for a line that is skipped.

    The native core treats lines as C strings, which a NUL ends: words are cut there.
    """
    number, space, word = line.partition(b"\0")[0].partition(b" ")
    if len(line) < SHORTEST_LINE or not space or not word:
        return None
    return word, atoi(number) != 0


def atoi(text: bytes) -> int:
    """Return what glibc's ``atoi`` makes of *text*: 0 where no number leads it; 32 bits kept."""
    number = _ATOI.match(text)
    if not number:
        return 0
    long = min(max(int(number[1][:25]), -(1 << 63)), (1 << 63) - 1)  # strtol saturates
    return (long + (1 << 31)) % (1 << 32) - (1 << 31)


def _bytes(path: Path) -> bytes:
    """Return the list's bytes; FormatError where it is missing, empty or cut."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(path, "", f"cannot be read: {error.strerror}") from error
    if not data:
        raise FormatError(path, "line 1", "is empty")
    if not data.endswith(b"\n"):
        last = data.count(b"\n") + 1
        raise FormatError(path, f"line {last}", "is cut: no newline ends it")
    return data
