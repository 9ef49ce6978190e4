"""``create_bayes_db OUT.db IN.dat``: count the words of a list, prune them, write the database."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cbngtrain.engine.bayes import EDIT_TOTALS, PRUNED_BELOW, pruned, write_database
from cbngtrain.engine.errors import EngineError
from cbngtrain.engine.word_list import word_counts

USAGE = "usage: create_bayes_db OUT.db IN.dat"


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
    words = word_counts(word_list, PRUNED_BELOW)
    good, bad = words[EDIT_TOTALS]
    print(f"{good + bad} edits, {bad} of them vandalism")
    print("Pruning ...")
    kept = pruned(words)
    write_database(database, kept)
    print(f"{len(kept) - 1} words kept")
    return 0
