"""``compare --details A/details.txt --reference B/details.txt --out DIR``: is A better than B?"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cbngtrain.evaluation.comparison import comparison, document
from cbngtrain.evaluation.curves import Network, marks
from cbngtrain.evaluation.errors import EvaluationError, FormatError
from cbngtrain.evaluation.markdown import comparison_page, comparison_table
from cbngtrain.evaluation.measures import tally_of
from cbngtrain.evaluation.options import Options, digest_of, parser
from cbngtrain.evaluation.output import json_text, whole_folder
from cbngtrain.evaluation.pairs import Pairs, paired
from cbngtrain.evaluation.scores import read_details
from cbngtrain.evaluation.table import Json, counted, named, title


@dataclass(frozen=True, slots=True)
class Reference:
    """
    Another network that scored the trial.

    Attributes:
        name: For people.
        details: Its details.txt.
        network: Its sha256; empty where nobody told.
    """

    name: str
    details: Path
    network: str = ""


def main(args: Sequence[str]) -> None:
    """
    Run the program with its arguments.

    Raises:
        EvaluationError: Wrong usage, or a file cannot be read or written.
        FormatError: The details are not what their name says.
    """
    arguments = _arguments(args)
    options = Options.of(arguments)
    references = _references(arguments)
    new = arguments.names[0] if arguments.names else named("network", options.network) or "new"
    if new in {each.name for each in references}:
        raise EvaluationError("--names: the two networks need different names")
    trial = read_details(arguments.details)
    pairs = [paired(trial, read_details(each.details)) for each in references]
    comparisons = [
        comparison(pair, (new, each.name), options, each.network)
        for pair, each in zip(pairs, references, strict=True)
    ]
    result = document(comparisons, options, _spread(arguments.references))
    if arguments.out:
        with whole_folder(arguments.out) as folder:
            (folder / "comparison.json").write_text(json_text(result), encoding="utf-8")
            (folder / "comparison.md").write_text(comparison_page(result), encoding="utf-8")
            _draw(pairs[0], result, folder)
    if arguments.table:
        print(comparison_table(result), end="")
    if arguments.json:
        print(json_text(result), end="")


def _references(arguments: argparse.Namespace) -> list[Reference]:
    """Return what to compare with, in order. Raises EvaluationError where that is nothing."""
    if arguments.reference:
        if arguments.references:
            raise EvaluationError("give either --reference or --references")
        names = arguments.names or ("", "reference")
        return [Reference(names[1], arguments.reference)]
    folder = arguments.references
    found = sorted(folder.glob("*.txt")) if folder else []
    if not found:
        where = f"{folder} holds no details, NAME.txt" if folder else "name --reference FILE"
        raise EvaluationError(f"nothing to compare with: {where}")
    return [_reference(path) for path in found]


def _reference(details: Path) -> Reference:
    """Return the reference of a folder; ``NAME.fann`` beside its details is its network."""
    path = details.with_suffix(".fann")
    network = digest_of(path) if path.exists() else ""
    return Reference(named(details.stem, network) or details.stem, details, network)


def _spread(folder: Path | None) -> Any:
    """Return what ``spread.json`` in *folder* holds, if it is there. Raises FormatError."""
    path = folder / "spread.json" if folder else None
    if path is None or not path.exists():
        return None
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise FormatError(path, None, f"no JSON: {error}") from error
    if not isinstance(value, dict) or value.get("format") != "cbngtrain/spread":
        raise FormatError(path, None, "no spread of networks over seeds")
    return value


def _draw(pairs: Pairs, result: Json, folder: Path) -> None:
    from cbngtrain.evaluation.plots import Scene, draw  # noqa: PLC0415 - slow; a table needs none

    first = result["comparisons"][0]
    networks = [
        Network(first["names"][side], tally_of(trial), marks(first["at_rates"], side))
        for side, trial in zip(("new", "reference"), pairs.trials, strict=True)
    ]
    heading = f"{title(result)}\n{counted(first['counts'])}, scored by both"
    draw(Scene(heading, networks, result["settings"]["share"]), folder, prefix="comparison-")


def _arguments(args: Sequence[str]) -> argparse.Namespace:
    of = parser("compare", "Is a network better than a reference on the same trial edits?")
    of.add_argument("--reference", type=Path, help="the reference's details.txt")
    of.add_argument(
        "--references", type=Path, metavar="DIR",
        help="several: details NAME.txt, networks NAME.fann, perhaps spread.json",
    )  # fmt: skip
    of.add_argument("--names", nargs=2, metavar=("NEW", "REFERENCE"), help="names")
    return of.parse_args(args)
