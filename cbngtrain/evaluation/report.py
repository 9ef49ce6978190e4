"""``report --details details.txt --out DIR``: how good is this network?"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from cbngtrain.evaluation.curves import Network, marks
from cbngtrain.evaluation.errors import EvaluationError
from cbngtrain.evaluation.measures import tally_of
from cbngtrain.evaluation.metrics import metrics
from cbngtrain.evaluation.options import Options, parser
from cbngtrain.evaluation.output import json_text, whole_folder
from cbngtrain.evaluation.scores import Trial, read_details, read_ids
from cbngtrain.evaluation.table import Json, counted, identity, metrics_table, title


def main(args: Sequence[str]) -> None:
    """
    Run the program with its arguments.

    Raises:
        EvaluationError: Wrong usage, or a file cannot be read or written.
        FormatError: The details are not what their name says.
    """
    arguments = _arguments(args)
    options = Options.of(arguments)
    trial = read_details(arguments.details)
    result = metrics(trial, options, _overlap(arguments, trial))
    if arguments.out:
        with whole_folder(arguments.out) as folder:
            (folder / "metrics.json").write_text(json_text(result), encoding="utf-8")
            _draw(trial, result, folder)
    if arguments.table:
        print(metrics_table(result), end="")
    if arguments.json:
        print(json_text(result), end="")


def _draw(trial: Trial, result: Json, folder: Path) -> None:
    from cbngtrain.evaluation.plots import Scene, draw  # noqa: PLC0415 - slow; a table needs none

    name = identity(result) or "this network"
    network = Network(name, tally_of(trial), marks(result["at_rates"]))
    heading = f"{title(result)}\n{counted(result['counts'])}"
    draw(Scene(heading, [network], result["settings"]["share"]), folder)


def _arguments(args: Sequence[str]) -> argparse.Namespace:
    of = parser("report", "How good is this network? Writes metrics.json and plots.")
    ids = "an edit set in XML, or a file with an EditID a line"
    of.add_argument("--train-ids", type=Path, help=f"the edits that were trained on: {ids}")
    of.add_argument("--trial-ids", type=Path, help="those of the trial; as a rule the details'")
    of.add_argument("--overlap", type=int, help="how many of the trial's edits were trained on")
    return of.parse_args(args)


def _overlap(arguments: argparse.Namespace, trial: Trial) -> int | None:
    """Return how many of the trial's edits were trained on; None where nobody told."""
    if arguments.overlap is not None:
        if arguments.train_ids or not 0 <= arguments.overlap <= len(trial.ids):
            raise EvaluationError(
                "--overlap: give either it, no more than there are edits, or --train-ids"
            )
        return int(arguments.overlap)
    if not arguments.train_ids:
        return None
    trained = read_ids(arguments.train_ids)
    tried = read_ids(arguments.trial_ids) if arguments.trial_ids else frozenset(trial.ids)
    return len(trained & tried)
