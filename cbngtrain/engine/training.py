"""
Training by iRPROP-, as libfann does it: every weight has a step of its own.

A step grows while its weight's slope keeps its sign and halves when the sign changes; only the
sign of a slope is used. C. Igel and M. Hüsken, "Improving the Rprop Learning Algorithm" (2000);
all figures are libfann's (fann_train.c, fann.c).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cbngtrain.engine.slopes import EpochResult, Slopes

Floats = npt.NDArray[np.float32]

INCREASE = np.float32(1.2)
DECREASE = np.float32(0.5)
FIRST_STEP = np.float32(0.1)
SMALLEST_STEP = np.float32(0.0001)
LARGEST_STEP = np.float32(50)
LARGEST_WEIGHT = np.float32(1500)


class Limits(NamedTuple):
    """When training ends: after so many epochs, or at a mean squared error that is low enough."""

    max_epochs: int
    desired_error: float


Report = Callable[[int, EpochResult], None]
"""Is told each epoch's number, from 1 on, and the result of the weights before its update."""


@dataclass(slots=True)
class Rprop:
    """
    One layer's weights on their way, each with its step.

    Attributes:
        weights: Shape (n_inputs + 1, n_neurons).
        steps: How far each weight last moved; at first `FIRST_STEP`.
        slopes: Last epoch's, 0 where the sign had changed.
    """

    weights: Floats
    steps: Floats = field(init=False)
    slopes: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.steps = np.full_like(self.weights, FIRST_STEP)
        self.slopes = np.zeros_like(self.weights)

    def move(self, slopes: Floats) -> None:
        """Move every weight by its step, up the *slopes* (positive: a larger weight is wanted)."""
        turned = slopes * self.slopes < 0
        steps = np.maximum(self.steps, SMALLEST_STEP)
        self.steps = np.where(turned, steps * DECREASE, np.minimum(steps * INCREASE, LARGEST_STEP))
        self.slopes = np.where(turned, np.float32(0), slopes)
        # A slope of 0 moves the weight up: libfann's own rule, which the bot's networks show.
        moved = self.weights + np.where(self.slopes < 0, -self.steps, self.steps)
        self.weights = np.clip(moved, -LARGEST_WEIGHT, LARGEST_WEIGHT)


def trained(
    weights: Sequence[Floats], slopes: Slopes, limits: Limits, report: Report
) -> list[Floats]:
    """
    Return the weights that libfann ends with: those after the last epoch's update.

    An epoch's error is that of the weights before its update. Where it is low enough, training
    ends with that epoch's update done.
    """
    last = list(weights)
    for epoch, result, after in _epochs(weights, slopes, limits):
        report(epoch, result)
        last = after
    return last


class Kept(NamedTuple):
    """
    The best weights of a training.

    Attributes:
        after: The epoch whose update made them; 0: the start weights.
        result: Their error and bit fail.
    """

    weights: list[Floats]
    after: int
    result: EpochResult


def best_trained(weights: Sequence[Floats], slopes: Slopes, limits: Limits, report: Report) -> Kept:
    """
    Return the weights with the lowest error of all that training went through.

    Steps that have grown can throw a network far back in one epoch, and libfann then saves that
    one. The weights after the last update are tried as well, at the price of half an epoch.
    """
    kept: Kept | None = None
    last = list(weights)
    epoch = 0
    for epoch, result, after in _epochs(weights, slopes, limits):
        report(epoch, result)
        if kept is None or result.error < kept.result.error:
            kept = Kept(last, epoch - 1, result)
        last = after
    final = slopes.at(last)
    if kept is None or final.error < kept.result.error:
        return Kept(last, epoch, final)
    return kept


def _epochs(
    weights: Sequence[Floats], slopes: Slopes, limits: Limits
) -> Iterator[tuple[int, EpochResult, list[Floats]]]:
    """Yield each epoch: its number from 1, its result, and the weights after its update."""
    layers = [Rprop(layer_weights) for layer_weights in weights]
    for epoch in range(1, limits.max_epochs + 1):
        result = slopes.at([layer.weights for layer in layers])
        for layer, layer_slopes in zip(layers, result.slopes, strict=True):
            layer.move(layer_slopes)
        yield epoch, result, [layer.weights for layer in layers]
        if result.error <= limits.desired_error:
            return
