"""What both programs are told on their command lines."""

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

from cbngtrain.evaluation.errors import EvaluationError

SHARE = 0.034
"""
The share of damaging edits among all edits of the English Wikipedia.

It is the ``pop-rate`` (0.0342) with which Wikimedia's editquality trained its model of damage for
that wiki, from 20,000 edits sampled in 2015. "Damaging" is wider than "vandalism", and the share
has changed since and with the hour: treat it as an order of magnitude, and set your own.
"""

BOOTSTRAP = 2000  # samples
FEWEST_SAMPLES = 100  # fewer leave two to each side of a 95 % interval
MOST_SAMPLES = 1_000_000  # they are kept: 88 MB, 11 figures of each

HEADLINE_RATE = 0.001  # the false positive rate in production (issue 6)
RATES = (0.01, 0.005, 0.0025, 0.001, 0.0001)  # false positive rates that people decide on
RECALLS = (0.95, 0.975)  # for which the share of edits to look at is told
LIVE_THRESHOLD = 0.85  # of the bot in use


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """
    What decides the figures besides the trial.

    Attributes:
        edit_set: The edit set's name, for titles.
        instance: The instance's name, for titles.
        network: The sha256 of the network, for titles where there is no instance; empty where
            nobody told.
        share: The real share of vandalism, in (0, 1).
        bootstrap: How many samples.
        seed: Of the samples.
    """

    edit_set: str = ""
    instance: str = ""
    network: str = ""
    share: float = SHARE
    bootstrap: int = BOOTSTRAP
    seed: int = 1

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Self:
        """Return those among *arguments*. Raises EvaluationError for one that is out of range."""
        if not 0 < arguments.share < 1:
            raise EvaluationError(f"--share: {arguments.share} is not between 0 and 1")
        if not FEWEST_SAMPLES <= arguments.bootstrap <= MOST_SAMPLES:
            raise EvaluationError(f"--bootstrap: take {FEWEST_SAMPLES} to {MOST_SAMPLES:,} samples")
        if arguments.seed < 0:
            raise EvaluationError(f"--seed: {arguments.seed} is negative")
        if not arguments.out and not arguments.table and not arguments.json:
            raise EvaluationError("nothing to do: name --out DIR, --table or --json")
        told = {name: getattr(arguments, name) for name in cls.__slots__}
        return cls(**{**told, "network": digest_of(arguments.network)})

    def to_json(self) -> dict[str, Any]:
        """Return what a reader needs to make the figures again."""
        return {
            "share": self.share,
            "bootstrap": self.bootstrap,
            "seed": self.seed,
            "live_threshold": LIVE_THRESHOLD,
        }


def digest_of(network: Path | None) -> str:
    """
    Return the sha256 of a network's file, by which it is known; empty where there is none.

    Raises:
        EvaluationError: It cannot be read.
    """
    if network is None:
        return ""
    try:
        return hashlib.sha256(network.read_bytes()).hexdigest()
    except OSError as error:
        raise EvaluationError(f"{network}: cannot be read: {error.strerror or error}") from error


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise EvaluationError(message)


def parser(program: str, description: str) -> argparse.ArgumentParser:
    """Return a parser that knows the options of both programs and raises EvaluationError."""
    made = _Parser(prog=f"python -m cbngtrain.evaluation {program}", description=description)
    made.add_argument("--details", type=Path, required=True, help="the trial's details.txt")
    made.add_argument("--edit-set", default="", help="its name, for titles")
    made.add_argument("--instance", default="", help="its name, for titles")
    made.add_argument("--network", type=Path, help="its file, for titles where no instance is told")
    made.add_argument("--share", type=float, default=SHARE, help="real share of vandalism")
    made.add_argument("--bootstrap", type=int, default=BOOTSTRAP, help="number of samples")
    made.add_argument("--seed", type=int, default=1, help="of the samples")
    made.add_argument("--out", type=Path, help="folder for the results")
    made.add_argument("--table", action="store_true", help="print a table")
    made.add_argument("--json", action="store_true", help="print what the JSON file holds")
    return made
