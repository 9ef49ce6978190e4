"""``compare --details A/details.txt --reference B/details.txt --out DIR``: is A better than B?"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from cbngtrain.evaluation.comparison import comparison
from cbngtrain.evaluation.curves import Network, marks
from cbngtrain.evaluation.errors import EvaluationError
from cbngtrain.evaluation.markdown import comparison_page, comparison_table
from cbngtrain.evaluation.measures import tally_of
from cbngtrain.evaluation.options import Options, parser
from cbngtrain.evaluation.output import json_text, whole_folder
from cbngtrain.evaluation.pairs import Pairs, paired
from cbngtrain.evaluation.scores import read_details
from cbngtrain.evaluation.table import Json, counted, title


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
            _draw(pairs, result, folder)
    if arguments.table:
        print(comparison_table(result), end="")


def _draw(pairs: Pairs, result: Json, folder: Path) -> None:
    from cbngtrain.evaluation.plots import Scene, draw  # noqa: PLC0415 - slow; a table needs none

    networks = [
        Network(result["names"][side], tally_of(trial), marks(result["at_rates"], side))
        for side, trial in zip(("new", "reference"), pairs.trials, strict=True)
    ]
    heading = f"{title(result)}\n{counted(result['counts'])}, scored by both"
    draw(Scene(heading, networks, result["settings"]["share"]), folder, prefix="comparison-")


def _arguments(args: Sequence[str]) -> argparse.Namespace:
    of = parser("compare", "Is a network better than a reference on the same trial edits?")
    of.add_argument("--reference", type=Path, required=True, help="the reference's details.txt")
    of.add_argument(
        "--names", nargs=2, default=("new", "reference"), metavar=("NEW", "REFERENCE"), help="names"
    )
    return of.parse_args(args)
