"""What a neuron makes of its sum: libfann's activation functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class Activation(IntEnum):
    """An activation function, by its number in libfann's files (fann_data.h)."""

    LINEAR = 0
    THRESHOLD = 1
    THRESHOLD_SYMMETRIC = 2
    SIGMOID = 3
    SIGMOID_STEPWISE = 4
    SIGMOID_SYMMETRIC = 5
    SIGMOID_SYMMETRIC_STEPWISE = 6
    GAUSSIAN = 7
    GAUSSIAN_SYMMETRIC = 8
    GAUSSIAN_STEPWISE = 9  # 0 in libfann, which never wrote it
    ELLIOT = 10
    ELLIOT_SYMMETRIC = 11
    LINEAR_PIECE = 12
    LINEAR_PIECE_SYMMETRIC = 13
    SIN_SYMMETRIC = 14
    COS_SYMMETRIC = 15
    SIN = 16
    COS = 17


@dataclass(frozen=True, slots=True)
class Steps:
    """
    A sigmoid made of straight lines.

    Attributes:
        points: Sum and output at the six corners, sums ascending; straight lines between them.
        low, high: The output below the first corner and from the last corner on.
    """

    points: tuple[tuple[float, float], ...]
    low: float
    high: float


STEPWISE = Steps(
    points=(
        (-2.64665246009826660156e00, 4.99999988824129104614e-03),
        (-1.47221946716308593750e00, 5.00000007450580596924e-02),
        (-5.49306154251098632812e-01, 2.50000000000000000000e-01),
        (5.49306154251098632812e-01, 7.50000000000000000000e-01),
        (1.47221934795379638672e00, 9.49999988079071044922e-01),
        (2.64665293693542480469e00, 9.95000004768371582031e-01),
    ),
    low=0.0,
    high=1.0,
)
"""All digits as in libfann 2.2 (fann_activation.h, fann.c)."""

SYMMETRIC_STEPWISE = Steps(
    points=(
        (-2.64665293693542480469e00, -9.90000009536743164062e-01),
        (-1.47221934795379638672e00, -8.99999976158142089844e-01),
        (-5.49306154251098632812e-01, -5.00000000000000000000e-01),
        (5.49306154251098632812e-01, 5.00000000000000000000e-01),
        (1.47221934795379638672e00, 8.99999976158142089844e-01),
        (2.64665293693542480469e00, 9.90000009536743164062e-01),
    ),
    low=-1.0,
    high=1.0,
)
"""As `STEPWISE`, from -1 to 1."""


def activated(activation: Activation, sums: Floats) -> Floats:
    """
    Return the outputs of neurons with the given *sums* (any shape, already times steepness).

    Computed in 64 bits and rounded to 32, as libfann does.
    """
    return _FUNCTIONS[activation](sums).astype(np.float32)


def _logistic(sums: Floats, scale: float) -> npt.NDArray[np.float64]:
    """Return scale / (1 + exp(-2 sum)); libfann's sigmoids have the 2 in them."""
    with np.errstate(over="ignore"):  # a sum of -600 gives exp = inf and an output of 0
        return scale / (1.0 + np.exp(-2.0 * sums.astype(np.float64)))


def _stepwise(steps: Steps, sums: Floats) -> npt.NDArray[np.float64]:
    """Return libfann's ``fann_stepwise``: (Δr · (sum - v)) / Δv + r on the line sum falls on."""
    v, r = np.array(steps.points).T
    line = np.searchsorted(v, sums, side="right")  # 0: below all corners … 6: above all
    # The first and last lines are flat: Δr is 0 there, Δv any number but 0.
    start = np.concatenate(([0.0], v))
    base = np.concatenate(([steps.low], r[:-1], [steps.high]))
    rise = np.concatenate(([0.0], np.diff(r), [0.0]))
    run = np.concatenate(([1.0], np.diff(v), [1.0]))
    outputs: npt.NDArray[np.float64] = rise[line] * (sums - start[line]) / run[line] + base[line]
    return outputs


def _bell(sums: Floats) -> npt.NDArray[np.float64]:
    return np.exp((-sums * sums).astype(np.float64))


_FUNCTIONS: Mapping[Activation, Callable[[Floats], npt.NDArray[np.floating]]] = {
    Activation.LINEAR: lambda s: s,
    Activation.THRESHOLD: lambda s: np.where(s < 0, 0.0, 1.0),
    Activation.THRESHOLD_SYMMETRIC: lambda s: np.where(s < 0, -1.0, 1.0),
    Activation.SIGMOID: lambda s: _logistic(s, 1.0),
    Activation.SIGMOID_STEPWISE: lambda s: _stepwise(STEPWISE, s),
    Activation.SIGMOID_SYMMETRIC: lambda s: _logistic(s, 2.0) - 1.0,
    Activation.SIGMOID_SYMMETRIC_STEPWISE: lambda s: _stepwise(SYMMETRIC_STEPWISE, s),
    Activation.GAUSSIAN: _bell,
    Activation.GAUSSIAN_SYMMETRIC: lambda s: _bell(s) * 2.0 - 1.0,
    Activation.GAUSSIAN_STEPWISE: np.zeros_like,
    Activation.ELLIOT: lambda s: s / 2 / (1 + np.abs(s)) + np.float32(0.5),
    Activation.ELLIOT_SYMMETRIC: lambda s: s / (1 + np.abs(s)),
    Activation.LINEAR_PIECE: lambda s: s.clip(0, 1),
    Activation.LINEAR_PIECE_SYMMETRIC: lambda s: s.clip(-1, 1),
    Activation.SIN_SYMMETRIC: lambda s: np.sin(s.astype(np.float64)),
    Activation.COS_SYMMETRIC: lambda s: np.cos(s.astype(np.float64)),
    Activation.SIN: lambda s: np.sin(s.astype(np.float64)) / 2 + 0.5,
    Activation.COS: lambda s: np.cos(s.astype(np.float64)) / 2 + 0.5,
}
