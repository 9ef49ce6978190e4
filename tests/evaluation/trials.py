"""Trials for the tests of the evaluation."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
from hypothesis import strategies as st

from cbngtrain.evaluation.scores import Trial
from tests.conftest import ROOT

EVALUATION = ROOT / "cbngtrain" / "evaluation"


def trial(vandalism: Sequence[float], constructive: Sequence[float]) -> Trial:
    """A trial with these scores, named by numbers from 1."""
    number = len(vandalism) + len(constructive)
    truths = np.arange(number) < len(vandalism)
    scores = np.array([*vandalism, *constructive], float)
    return Trial(tuple(map(str, range(1, number + 1))), truths, scores)


def drawn(
    vandalism: int, constructive: int, seed: int = 1, *, shift: float = 2.0, digits: int = 6
) -> Trial:
    """A trial whose classes are two normal distributions, seen through a logistic curve."""
    random = np.random.default_rng(seed)
    at = np.concatenate(
        [random.normal(shift / 2, 1, vandalism), random.normal(-shift / 2, 1, constructive)]
    )
    scores = np.round(1 / (1 + np.exp(-at)), digits)
    return trial(scores[:vandalism].tolist(), scores[vandalism:].tolist())


def details(of: Trial) -> str:
    """The trial as the core writes it."""
    return "".join(
        f"editid={name}, isvandalism={'true' if bad else 'false'}, score={score!r}, "
        f"main_bayes_score=0, main_ann_score={score!r}\n"
        for name, bad, score in zip(of.ids, of.vandalism, of.scores.tolist(), strict=True)
    )


def written(of: Trial, path: Path) -> Path:
    """The trial as a file."""
    path.write_text(details(of), encoding="utf-8")
    return path


def validate(value: Any, name: str) -> None:
    """Fail where *value* is not what the schema called *name* describes."""
    _validator(name).validate(value)


@cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((EVALUATION / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


scores = st.binary(min_size=1, max_size=30).map(lambda of: [byte % 21 / 20 for byte in of])
"""A class's scores, with ties."""

trials = st.builds(trial, scores, scores)
"""Trials with edits of both classes."""

FEW = "of the trial's edits are"

DEGENERATE = {
    "no edits": (trial([], []), "the trial has no edits"),
    "no vandalism": (trial([], [0.1, 0.9]), "the trial has no vandalism"),
    "no constructive edits": (trial([0.1, 0.9], []), "the trial has no constructive edits"),
    "one edit": (trial([0.5], []), "the trial has no constructive edits"),
    "all scores equal": (trial([0.5] * 20, [0.5] * 20), "all scores are equal"),
    "one edit of each": (trial([0.9], [0.1]), f"only 1 {FEW} vandalism"),
    "nothing overlaps": (trial([0.9] * 20, [0.1] * 20), "the classes do not overlap"),
}
"""Trials that lack something, and what is said of them."""


def files(folder: Path) -> dict[str, bytes]:
    """The files in *folder*."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
