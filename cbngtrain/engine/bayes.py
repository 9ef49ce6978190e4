"""
The Bayes database: how many good and how many bad edits contained a word.

A Berkeley DB 5.3 B-tree in one file. Key: the word's bytes. Value: 8 bytes, two unsigned
little-endian 32-bit numbers, edits with the word that were good and that were bad
(core-contract, "Bayes database").
"""

from pathlib import Path

import numpy as np
from berkeleydb import db

from cbngtrain.engine.errors import FormatError

EDIT_TOTALS = b"_EDIT_TOTALS"
"""The key whose counts are those of all edits (core-contract, "Bayes database")."""

COUNTS = np.dtype("<u4")
"""One of a value's two numbers: unsigned, 32 bits, little-endian."""

VALUE_BYTES = 2 * COUNTS.itemsize

PAGE_SIZE = 4096  # bytes; what the native core's files have


def read_database(path: Path) -> dict[bytes, tuple[int, int]]:
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


def _items(path: Path) -> list[tuple[bytes, bytes]]:
    """Return all keys and values of the B-tree, in key order; FormatError as `read_database`."""
    try:
        db.DB().verify(str(path))
        tree = db.DB()
        try:
            tree.open(str(path), dbtype=db.DB_BTREE, flags=db.DB_RDONLY)
            items: list[tuple[bytes, bytes]] = tree.items()  # one loop in C, no cursor in Python
        finally:
            tree.close()
    except db.DBNoSuchFileError as error:
        raise FormatError(path, "", "does not exist") from error
    except (db.DBError, ValueError) as error:
        raise FormatError(path, "", f"is not a whole Berkeley DB B-tree ({_reason(error)})") from (
            error
        )
    return items


def _reason(error: Exception) -> str:
    """Return Berkeley DB's own words for *error*, without its numbers and our path."""
    return str(error.args[-1]).split(" -- ")[0]
