"""``print_bayes_db FILE.db``: a Bayes database as text, on standard output."""

import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cbngtrain.engine.bayes import EDIT_TOTALS, WordCounts, read_database, vandalism_shares
from cbngtrain.engine.errors import EngineError

USAGE = "usage: print_bayes_db FILE.db"

_NAN = -1.0  # stands for NaN, which has no order; scores are 0 to 1


def main(args: Sequence[str], _env: Mapping[str, str]) -> int:
    """
    Run the program with its arguments.

    Raises:
        EngineError: Wrong usage.
        FormatError: FILE.db is no Bayes database.
    """
    if len(args) != 1:
        raise EngineError(USAGE)
    text = database_text(read_database(Path(args[0])))
    try:
        sys.stdout.buffer.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough, as in "print_bayes_db … | head"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def database_text(words: WordCounts) -> bytes:
    """
    Return the lines ``word score good bad``, by score, then word; the totals are left out.

    The score is p as in `vandalism_shares`, written as C++ streams do ("%g"; NaN is "-nan").
    """
    shares = vandalism_shares(words)
    scores = {counts: _NAN if math.isnan(p) else p for counts, p in shares.items()}
    entries = sorted(
        (scores[counts], word) for word, counts in words.items() if word != EDIT_TOTALS
    )
    return b"".join(
        b"%b %b %d %d\n" % (word, b"-nan" if score == _NAN else b"%g" % score, *words[word])
        for score, word in entries
    )
