"""
The Bayes database: how many good and how many bad edits contained a word.

A Berkeley DB 5.3 B-tree in one file. Key: the word's bytes. Value: 8 bytes, two unsigned
little-endian 32-bit numbers, edits with the word that were good and that were bad (the core's
bayesdb.hpp).

Without numpy, which takes longer to import than most lists take to be counted.
"""

import faulthandler
import math
import os
import signal
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import starmap
from pathlib import Path
from struct import Struct
from typing import Any, NoReturn

from cbngtrain.engine.errors import EngineError, FormatError
from cbngtrain.engine.output import whole_file

try:
    from berkeleydb import db
except ImportError as missing:
    raise EngineError(
        f"Berkeley DB cannot be loaded ({missing}); install Debian's libdb5.3-dev"
    ) from missing

EDIT_TOTALS = b"_EDIT_TOTALS"
"""The key whose counts are those of all edits (the core's bayesdb.hpp)."""

VALUE = Struct("<II")
"""A value: good and bad edits, unsigned, 32 bits, little-endian."""

PAGE_SIZE = 4096  # bytes; what the native core's files have

CACHE_BYTES = 16 << 20  # Berkeley DB's own 256 KB make it write pages more than once

PRUNED_BELOW = 3  # edits; words of fewer are pruned (the core's create_bayes_db.cpp)
MIN_DEVIATION = array("f", [0.15])[0]  # of p from 0.5; words nearer are pruned (same place)

WordCounts = dict[bytes, tuple[int, int]]
"""Word → edits with it that were good, and that were bad."""


def vandalism_shares(words: Mapping[bytes, tuple[int, int]]) -> dict[tuple[int, int], float]:
    """
    Return p = (b/B) / (b/B + g/G), all in 32-bit floats, for each (g, b) that a word has.

    Each is in 0…1; NaN where the edits are all good or all bad. Most words share their counts
    with many others, so this is much shorter than the words.
    """
    counts = list(set(words.values()))
    good_total, bad_total = _float32(words[EDIT_TOTALS])
    good = _float32(_quotient(g, good_total) for g in _float32(g for g, _ in counts))
    bad = _float32(_quotient(b, bad_total) for b in _float32(b for _, b in counts))
    both = _float32(b + g for b, g in zip(bad, good, strict=True))
    shares = _float32(starmap(_quotient, zip(bad, both, strict=True)))
    return dict(zip(counts, shares, strict=True))


def pruned(words: WordCounts) -> WordCounts:
    """
    Return the words that tell good from bad, and `EDIT_TOTALS`.

    A word goes if ``|0.5 - p| < MIN_DEVIATION`` in 32-bit floats or it has fewer edits than
    `PRUNED_BELOW`; one whose p is NaN stays, as in the native core.
    """
    shares = vandalism_shares(words)
    deviations = _float32(abs(0.5 - share) for share in shares.values())
    kept = {
        counts
        for counts, deviation in zip(shares, deviations, strict=True)
        if sum(counts) >= PRUNED_BELOW and not deviation < MIN_DEVIATION
    }
    return {word: counts for word, counts in words.items() if counts in kept or word == EDIT_TOTALS}


def write_database(path: Path, words: Mapping[bytes, tuple[int, int]]) -> None:
    """
    Write *words* as a database, in key order, so that its pages fill one after the other.

    It is made in memory: Berkeley DB would have the disk confirm a file three times.

    Raises:
        EngineError: The file cannot be written; what was there under its name is unchanged.
    """
    with (
        whole_file(path) as file,
        os.fdopen(os.memfd_create("database"), "rb") as made,
        _tree() as tree,
    ):
        try:
            tree.set_pagesize(PAGE_SIZE)
            tree.set_cachesize(0, CACHE_BYTES)
            name = f"/proc/self/fd/{made.fileno()}"
            tree.open(name, dbtype=db.DB_BTREE, flags=db.DB_CREATE | db.DB_TRUNCATE)
            for key in sorted(words):
                tree.put(key, VALUE.pack(*words[key]))
            tree.close()  # writes what is left in the cache, so it can fail
        except db.DBError as error:
            raise EngineError(f"{path}: cannot be written: {_reason(error)}") from error
        file.write(made.read())


def read_database(path: Path) -> WordCounts:
    """
    Return a database's words, in byte order, with their counts: word → (good, bad).

    ``EDIT_TOTALS`` is one of the words. The whole file is verified page by page first, because
    Berkeley DB itself trusts what it reads.

    Raises:
        FormatError: The file is missing, is no such database, is cut or rotten, has a value that
            is not 8 bytes long, or no ``EDIT_TOTALS`` (what the native core leaves of an
            unreadable word list).
    """
    items = _items(path)
    odd = [word for word, value in items if len(value) != VALUE.size]
    if odd:
        raise FormatError(path, f"word {odd[0]!r}", f"its value is not {VALUE.size} bytes long")
    counts = VALUE.iter_unpack(b"".join(value for _, value in items))
    words = dict(zip((word for word, _ in items), counts, strict=True))
    if EDIT_TOTALS not in words:
        raise FormatError(path, "", f"has no {EDIT_TOTALS.decode()}: not made from edits")
    return words


def _float32(values: Iterable[float]) -> "array[float]":
    """
    Return *values* rounded to 32-bit floats.

    A sum or quotient of two 32-bit floats that is computed in 64 bits and then rounded is the
    one computed in 32 bits: 53 bits are more than twice 24 and two.
    """
    return array("f", values)


def _quotient(a: float, b: float) -> float:
    """Return a / b as processors divide: by 0 too. Neither is below 0."""
    if b:
        return a / b
    return math.inf if a > 0 else math.nan


def _items(path: Path) -> list[tuple[bytes, bytes]]:
    """Return all keys and values of the B-tree, in key order; FormatError as `read_database`."""
    if problem := _problem(path):
        raise FormatError(path, "", problem)
    try:
        with _tree() as tree:
            tree.open(str(path), dbtype=db.DB_BTREE, flags=db.DB_RDONLY)
            items: list[tuple[bytes, bytes]] = tree.items()  # one loop in C, no cursor in Python
            return items
    except (db.DBError, ValueError) as error:
        raise FormatError(path, "", _not_whole(_reason(error))) from error


def _problem(path: Path) -> str:
    """
    Return what is wrong with the file, or nothing; all its pages are looked at.

    In a process of its own: Berkeley DB frees memory twice over some damaged pages (5.3.28), which
    ends the process that asks.
    """
    reader, writer = os.pipe()
    if not (child := os.fork()):
        _tell_problem(path, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        problem = told.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return problem or (_not_whole("Berkeley DB crashes on it") if status else "")


def _tell_problem(path: Path, writer: int) -> NoReturn:
    """Write to *writer* what is wrong with the file, and end this process."""
    problem = b"cannot be verified"
    try:
        faulthandler.disable()  # a crash is told in our words
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as the engine's own handler is not for it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # the C library's farewell
        db.DB().verify(str(path))
        problem = b""
    except db.DBNoSuchFileError:
        problem = b"does not exist"
    except (db.DBError, ValueError) as error:
        problem = _not_whole(_reason(error)).encode()
    finally:
        os.write(writer, problem[:4096])  # less than a pipe holds
        os._exit(0)


def _not_whole(reason: str) -> str:
    return f"is not a whole Berkeley DB B-tree ({reason})"


@contextmanager
def _tree() -> Iterator[Any]:
    """Yield a new Berkeley DB handle (the library has no types), closed at the end."""
    tree = db.DB()
    try:
        yield tree
    finally:
        with suppress(db.DBError):  # closing after an error fails again
            tree.close()


def _reason(error: Exception) -> str:
    """Return Berkeley DB's own words for *error*, without its numbers and our path."""
    return str(error.args[-1]).split(" -- ")[0]
