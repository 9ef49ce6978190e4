"""
Training by iRPROP-, as libfann does it: every weight has a step of its own.

A step grows while its weight's slope keeps its sign and halves when the sign changes; only the
sign of a slope is used. C. Igel and M. Hüsken, "Improving the Rprop Learning Algorithm" (2000);
all figures are libfann's (core-contract, "Network").
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cbngtrain.engine.slopes import Slopes

Floats = npt.NDArray[np.float32]

INCREASE = np.float32(1.2)
DECREASE = np.float32(0.5)
FIRST_STEP = np.float32(0.1)
SMALLEST_STEP = np.float32(0.0001)
LARGEST_STEP = np.float32(50)
LARGEST_WEIGHT = np.float32(1500)


class Progress(NamedTuple):
    """One epoch: its number from 1, and error and bit fail of the weights before its update."""

    epoch: int
    error: float
    bit_fail: int


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
        self.weights = self.weights.copy()
        self.steps = np.full_like(self.weights, FIRST_STEP)
        self.slopes = np.zeros_like(self.weights)

    def move(self, slopes: Floats) -> None:
        """Move every weight by its step, up the *slopes* (positive: a larger weight is wanted)."""
        turned = slopes * self.slopes < 0
        steps = np.maximum(self.steps, SMALLEST_STEP)
        self.steps = np.where(turned, steps * DECREASE, np.minimum(steps * INCREASE, LARGEST_STEP))
        self.slopes = np.where(turned, np.float32(0), slopes)
        # A slope of 0 moves the weight up: libfann's own rule, which the bot's networks show.
        self.weights += np.where(self.slopes < 0, -self.steps, self.steps)
        np.clip(self.weights, -LARGEST_WEIGHT, LARGEST_WEIGHT, out=self.weights)


def trained(
    weights: Sequence[Floats],
    slopes: Slopes,
    max_epochs: int,
    desired_error: float,
    report: Callable[[Progress], None],
) -> list[Floats]:
    """
    Return the weights after at most *max_epochs* epochs.

    An epoch's error is that of the weights before its update. Where it is *desired_error* or
    less, training ends with that epoch's update done, as in libfann.
    """
    layers = [Rprop(layer_weights) for layer_weights in weights]
    for epoch in range(1, max_epochs + 1):
        result = slopes.at([layer.weights for layer in layers])
        for layer, layer_slopes in zip(layers, result.slopes, strict=True):
            layer.move(layer_slopes)
        report(Progress(epoch, result.error, result.bit_fail))
        if result.error <= desired_error:
            break
    return [layer.weights for layer in layers]
