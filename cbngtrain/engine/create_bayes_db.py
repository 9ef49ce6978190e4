"""
``create_bayes_db OUT.db IN.dat``: count the words of a list, prune them, write the database.

A line of the list is ``V word``: the word occurred in one edit, which was vandalism where V,
read as C's ``atoi`` does, is not 0 (core-contract, "Bayes database").
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from cbngtrain.engine.bayes import EDIT_TOTALS, WordCounts, pruned, write_database
from cbngtrain.engine.errors import EngineError, FormatError

USAGE = "usage: create_bayes_db OUT.db IN.dat"

SHORTEST_LINE = 3  # bytes; shorter lines are skipped (core-contract, "Bayes database")

_READ_BYTES = 1 << 20  # read at once; the split lines of 1 MB stay in the second-level cache

_ATOI = re.compile(rb"[ \t\n\v\f\r]*([+-]?\d+)")


def main(args: Sequence[str], _env: Mapping[str, str]) -> int:
    """
    Run the program with its arguments.

    Raises:
        EngineError: Wrong usage, or OUT.db cannot be written.
        FormatError: IN.dat is missing, empty, cut, or no word list. OUT.db is then left as it was.
    """
    if len(args) != 2:
        raise EngineError(USAGE)
    database, word_list = map(Path, args)
    print("Processing words ...")
    words = word_counts(word_list)
    good, bad = words[EDIT_TOTALS]
    print(f"{good + bad} edits ({bad} vandalism), {len(words) - 1} words")
    print("Pruning ...")
    kept = pruned(words)
    write_database(database, kept)
    print(f"{len(kept) - 1} words kept")
    return 0


def word_counts(path: Path) -> WordCounts:
    """
    Return how many good and bad edits each word of a list occurred in: word → (good, bad).

    Raises:
        FormatError: The list is missing, empty, does not end with a newline (it was cut), or has
            no line for `EDIT_TOTALS`.
    """
    words: WordCounts = {}
    for line, count in _line_counts(path).items():
        if entry := word_of(line):
            word, is_bad = entry
            good, bad = words.get(word, (0, 0))
            words[word] = (good, bad + count) if is_bad else (good + count, bad)
    if EDIT_TOTALS not in words:
        raise FormatError(path, "line 1", f"no line is 'V {EDIT_TOTALS.decode()}': no word list")
    return words


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


def _line_counts(path: Path) -> Counter[bytes]:
    """Return how often each line of *path* occurs."""
    counts: Counter[bytes] = Counter()
    try:
        for lines in _batches(path):
            counts.update(lines)
    except OSError as error:
        raise FormatError(path, "", f"cannot be read: {error.strerror}") from error
    if not counts:
        raise FormatError(path, "line 1", "is empty")
    return counts


def _batches(path: Path) -> Iterator[Iterable[bytes]]:
    """Yield the lines of *path*, without their newlines, in batches of about `_READ_BYTES`."""
    line_number = 1
    rest = b""
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            *lines, rest = (rest + block).split(b"\n")
            line_number += len(lines)
            yield lines
    if rest:
        raise FormatError(path, f"line {line_number}", "is cut: no newline ends it")
