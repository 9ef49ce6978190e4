"""``spread --details details.txt --seeds DIR``: what does chance alone do to a network?"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cbngtrain.evaluation import measures
from cbngtrain.evaluation.doubts import lacking
from cbngtrain.evaluation.errors import EvaluationError
from cbngtrain.evaluation.intervals import Statistic
from cbngtrain.evaluation.measures import Tally, tally_of
from cbngtrain.evaluation.options import RATES, Options, parser
from cbngtrain.evaluation.output import json_text, whole_folder
from cbngtrain.evaluation.scores import read_details
from cbngtrain.evaluation.table import columns, spread_rows, spread_told, title

VERSION = 1  # of spread.json; spread.schema.json describes it

STATISTICS: Mapping[str, Statistic] = {
    **{
        f"recall at {100 * rate:g} %": partial(measures.recall_at_rate, rate=rate) for rate in RATES
    },
    "roc_auc": measures.roc_auc,
    "partial_auc": measures.partial_auc,
    "average_precision": measures.average_precision,
    "brier": measures.brier,
}


def main(args: Sequence[str]) -> None:
    """
    Run the program with its arguments.

    Raises:
        EvaluationError: Wrong usage, or a file cannot be read or written.
        FormatError: The details are not what their name says.
    """
    arguments = _arguments(args)
    options = Options.of(arguments)
    found = {_seed(path): path for path in arguments.seeds.glob("*.txt")}
    if not found:
        raise EvaluationError(f"{arguments.seeds} holds no details, SEED.txt")
    others = {seed: tally_of(read_details(found[seed])) for seed in sorted(found)}
    result = spread(tally_of(read_details(arguments.details)), others, options)
    if arguments.out:
        with whole_folder(arguments.out) as folder:
            (folder / "spread.json").write_text(json_text(result), encoding="utf-8")
    if arguments.table:
        rows = columns(list(spread_rows(result)))
        print("\n".join([f"{title(result)}: {spread_told(result)}", "", *rows]))
    if arguments.json:
        print(json_text(result), end="")


def _seed(path: Path) -> int:
    """Return the seed that names a file. Raises EvaluationError."""
    if not (path.stem.isascii() and path.stem.isdecimal()):
        raise EvaluationError(f"{path}: is not named by a seed: SEED.txt")
    return int(path.stem)


def spread(this: Tally, others: Mapping[int, Tally], options: Options) -> dict[str, Any]:
    """
    Return what ``spread.json`` holds.

    Args:
        this: The trial of the network in question.
        others: Seed → the same trial of a network that differs by nothing but its seed.
        options: What decides titles.
    """
    reason = next(filter(None, map(lacking, (this, *others.values()))), "")
    return {
        "format": "cbngtrain/spread",
        "version": VERSION,
        "edit_set": options.edit_set,
        "instance": options.instance,
        "network": options.network,
        "seeds": list(others),
        "reason": reason,
        "measures": {}
        if reason
        else {
            name: _row(statistic(this), [statistic(each) for each in others.values()])
            for name, statistic in STATISTICS.items()
        },
    }


def _row(this: float, values: Sequence[float]) -> dict[str, Any]:
    """Return where *this* stands among *values*."""
    return {
        "this": this,
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "low": min(values),
        "high": max(values),
        "below": sum(value < this for value in values),
        "values": list(values),
    }


def _arguments(args: Sequence[str]) -> argparse.Namespace:
    of = parser("spread", "Where does a network stand among others that differ by their seeds?")
    of.add_argument("--seeds", type=Path, required=True, metavar="DIR", help="details, SEED.txt")
    return of.parse_args(args)
