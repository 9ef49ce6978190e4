"""
The Bayes database: how many good and how many bad edits contained a word.

A Berkeley DB 5.3 B-tree in one file. Key: the word's bytes. Value: 8 bytes, two unsigned
little-endian 32-bit numbers, edits with the word that were good and that were bad
(core-contract, "Bayes database").
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cbngtrain.engine.errors import EngineError, FormatError
from cbngtrain.engine.output import whole_file

try:
    from berkeleydb import db
except ImportError as missing:
    raise EngineError(
        f"Berkeley DB cannot be loaded ({missing}); install Debian's libdb5.3-dev"
    ) from missing

EDIT_TOTALS = b"_EDIT_TOTALS"
"""The key whose counts are those of all edits (core-contract, "Bayes database")."""

COUNTS = np.dtype("<u4")
"""One of a value's two numbers: unsigned, 32 bits, little-endian."""

VALUE_BYTES = 2 * COUNTS.itemsize

PAGE_SIZE = 4096  # bytes; what the native core's files have

CACHE_BYTES = 16 << 20  # Berkeley DB's own 256 KB make it write pages more than once

MIN_EDITS = 3  # words of fewer edits are pruned (core-contract, "Bayes database")
MIN_DEVIATION = np.float32(0.15)  # of p from 0.5; words nearer than that are pruned (same place)

WordCounts = dict[bytes, tuple[int, int]]
"""Word → edits with it that were good, and that were bad."""


def vandalism_share(words: Mapping[bytes, tuple[int, int]]) -> npt.NDArray[np.float32]:
    """
    Return, per word, p = (b/B) / (b/B + g/G), all in 32-bit floats.

    Returns:
        Shape (n_words,), each in 0…1; NaN where the edits are all good or all bad.
    """
    counts = _counts(words).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        good, bad = (counts / np.array(words[EDIT_TOTALS], np.float32)).T
        return np.asarray(bad / (bad + good), np.float32)


def pruned(words: WordCounts) -> WordCounts:
    """
    Return the words that tell good from bad, and `EDIT_TOTALS`.

    A word goes if ``|0.5 - p| < MIN_DEVIATION`` in 32-bit floats or it has fewer than `MIN_EDITS`
    edits; one whose p is NaN stays, as in the native core.
    """
    deviation = np.abs(np.float32(0.5) - vandalism_share(words))
    goes = (deviation < MIN_DEVIATION) | (_counts(words).sum(axis=1) < MIN_EDITS)
    return {
        word: counts
        for (word, counts), is_gone in zip(words.items(), goes.tolist(), strict=True)
        if not is_gone or word == EDIT_TOTALS
    }


def write_database(path: Path, words: Mapping[bytes, tuple[int, int]]) -> None:
    """
    Write *words* as a database, in key order, so that its pages fill one after the other.

    Raises:
        EngineError: The file cannot be written; what was there under its name is unchanged.
    """
    keys = sorted(words)
    values = np.array([words[key] for key in keys], COUNTS).tobytes()
    with whole_file(path) as file, _tree() as tree:
        try:
            tree.set_pagesize(PAGE_SIZE)
            tree.set_cachesize(0, CACHE_BYTES)
            # In the file that whole_file has just made, and will give its name.
            tree.open(file.name, dbtype=db.DB_BTREE, flags=db.DB_CREATE | db.DB_TRUNCATE)
            for i, key in enumerate(keys):
                tree.put(key, values[VALUE_BYTES * i : VALUE_BYTES * (i + 1)])
            tree.close()  # writes what is left in the cache, so it can fail
        except db.DBError as error:
            raise EngineError(f"{path}: cannot be written: {_reason(error)}") from error


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
    if any(len(value) != VALUE_BYTES for _, value in items):
        word = next(word for word, value in items if len(value) != VALUE_BYTES)
        raise FormatError(path, f"word {word!r}", f"its value is not {VALUE_BYTES} bytes long")
    counts = np.frombuffer(b"".join(value for _, value in items), COUNTS).reshape(-1, 2)
    words = {
        word: (good, bad) for (word, _), (good, bad) in zip(items, counts.tolist(), strict=True)
    }
    if EDIT_TOTALS not in words:
        raise FormatError(path, "", f"has no {EDIT_TOTALS.decode()}: not made from edits")
    return words


def _counts(words: Mapping[bytes, tuple[int, int]]) -> npt.NDArray[np.int64]:
    """Return the counts of *words*, shape (n_words, 2): good, bad."""
    return np.array(list(words.values()), np.int64).reshape(-1, 2)


def _items(path: Path) -> list[tuple[bytes, bytes]]:
    """Return all keys and values of the B-tree, in key order; FormatError as `read_database`."""
    try:
        db.DB().verify(str(path))
        with _tree() as tree:
            tree.open(str(path), dbtype=db.DB_BTREE, flags=db.DB_RDONLY)
            items: list[tuple[bytes, bytes]] = tree.items()  # one loop in C, no cursor in Python
            return items
    except db.DBNoSuchFileError as error:
        raise FormatError(path, "", "does not exist") from error
    except (db.DBError, ValueError) as error:
        problem = f"is not a whole Berkeley DB B-tree ({_reason(error)})"
        raise FormatError(path, "", problem) from error


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
