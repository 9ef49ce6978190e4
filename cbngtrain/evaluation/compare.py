"""``compare --details A/details.txt --reference B/details.txt --out DIR``: is A better than B?"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from cbngtrain.evaluation.comparison import comparison
from cbngtrain.evaluation.errors import EvaluationError
from cbngtrain.evaluation.markdown import comparison_page, comparison_table
from cbngtrain.evaluation.options import Options, parsed, parser
from cbngtrain.evaluation.output import json_text, whole_folder
from cbngtrain.evaluation.pairs import paired
from cbngtrain.evaluation.scores import read_details


def main(args: Sequence[str]) -> None:
    """
    Run the program with its arguments.

    Raises:
        EvaluationError: Wrong usage, or a file cannot be read or written.
        FormatError: The details are not what their name says.
    """
    arguments = _arguments(args)
    options = Options.of(arguments)
    new, reference = arguments.names
    if new == reference:
        raise EvaluationError("--names: the two networks need different names")
    pairs = paired(read_details(arguments.details), read_details(arguments.reference))
    result = comparison(pairs, (new, reference), options)
    if arguments.out:
        with whole_folder(arguments.out) as folder:
            (folder / "comparison.json").write_text(json_text(result), encoding="utf-8")
            (folder / "comparison.md").write_text(comparison_page(result), encoding="utf-8")
    if arguments.table:
        print(comparison_table(result), end="")


def _arguments(args: Sequence[str]) -> argparse.Namespace:
    of = parser("compare", "Is a network better than a reference on the same trial edits?")
    of.add_argument("--reference", type=Path, required=True, help="the reference's details.txt")
    of.add_argument(
        "--names", nargs=2, default=("new", "reference"), metavar=("NEW", "REFERENCE"), help="names"
    )
    return parsed(of, args)
