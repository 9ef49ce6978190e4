"""
Where training starts when no start weights are given.

iRPROP- moves every weight by 0.1 in its first epoch, all 16,000 of them, whatever their slopes.
From libfann's own start (uniform in ±0.1) that drives every neuron into saturation and the error
to 0.5, from where it takes about ten epochs to come back. So here the start is a network that
already classifies, with weights large enough that a step of 0.1 does not undo it:

- A hidden neuron is a step along a direction in which good and bad edits differ: Fisher's linear
  discriminant by ridge regression (Hastie, Tibshirani, Friedman, "The Elements of Statistical
  Learning", 4.3), mixed with a random direction so that no two neurons are alike. Its bias puts
  the step at a quantile of the rows: together the neurons are a staircase.
- The output layer is the ridge regression of the wanted outputs on the hidden neurons' outputs,
  as in extreme learning machines (Huang, Zhu, Siew, Neurocomputing 70, 2006).

Measured, median error of the saved network after 5 / 10 / 20 / 50 / 150 epochs, libfann's first
(161-100-1; libfann trained through ctypes from its own random start, five times each):

===================  =============================  =============================
rows                 libfann                        this start, best epoch kept
===================  =============================  =============================
n400 (400)           .149 / .038 / .002 / .015 / 0  .007 / .001 /   0  /   0  / 0
sparse (2000)        .256 / .215 / .178 / .137 / .006  .156 / .151 / .116 / .040 / .003
linear (1000)        .283 / .249 / .242 / .150 / .091  .096 / .091 / .078 / .035 / .003
exclusive or (1000)  .338 / .251 / .247 / .216 / .180  .194 / .194 / .194 / .125 / .020
===================  =============================  =============================

On edits kept apart, the networks that result tell good from bad at least as well: trained on n400
to an error of 0.037 and tried on trial400, the area under the curve is .998, libfann's golden
network's .991. Random directions alone reach as low an error as quickly, but lose there (linear:
.73, where libfann and this start have .83): they learn the rows by heart.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cbngtrain.engine.activation import Activation, activated
from cbngtrain.engine.network import STEEPNESS, Floats
from cbngtrain.engine.training_rows import TrainingRows

Doubles = npt.NDArray[np.float64]

STEEP = 20.0  # standard deviation of a hidden neuron's sums over the rows (measured: 10 to 30)
ALIKE = 0.9  # correlation of a neuron's direction with the discriminant (measured: 0.8 to 0.95)
TARGET = 2.0  # sum before the steepness that an output aims at: ±2 gives 0.1 and 0.9

_DIRECTION_RIDGE = 0.1  # of each standardised input's variance, 1
_OUTPUT_RIDGE = 0.01  # of each hidden neuron's variance, at most 1/4
_LEAST_DEVIATION = 0.05  # rarer inputs are not scaled up further: they would decide alone
_QUANTILES = (0.05, 0.95)  # of the rows, between which the steps lie


def start_weights(
    sizes: Sequence[int], rows: TrainingRows, random: np.random.Generator
) -> list[Floats]:
    """
    Return the weights to start from, per layer (n_inputs + 1, n_neurons), the bias neuron last.

    Args:
        sizes: Neurons per layer, inputs first, bias neurons not counted.
        rows: What the network is to learn.
        random: Decides the neurons' own directions.
    """
    values = rows.inputs.astype(np.float64)
    wanted = 2.0 * rows.wanted.astype(np.float64) - 1.0  # -1…1
    weights = []
    for size in sizes[1:-1]:
        layer = _staircase(values, wanted, size, random)
        weights.append(layer)
        sums = (_with_bias(values) @ layer * STEEPNESS).astype(np.float32)
        values = activated(Activation.SIGMOID_STEPWISE, sums).astype(np.float64)
    weights.append(_regression(values, wanted * TARGET, _OUTPUT_RIDGE))
    return [layer.astype(np.float32) for layer in weights]


def _staircase(values: Doubles, wanted: Doubles, size: int, random: np.random.Generator) -> Doubles:
    """Return a hidden layer on *values* (n_rows, n_in): (n_in + 1, size)."""
    deviation = values.std(axis=0)
    scale = np.where(deviation > 0, 1 / np.maximum(deviation, _LEAST_DEVIATION), 0)[:, np.newaxis]
    # (n_in, n_out): a direction per output, given to the neurons in turn
    discriminants = _unit(
        values, scale * _regression(values * scale.T, wanted, _DIRECTION_RIDGE)[:-1]
    )
    discriminant = discriminants[:, np.arange(size) % wanted.shape[1]]
    own = _unit(values, scale * random.standard_normal((len(scale), size)))
    directions = STEEP * (ALIKE * discriminant + np.sqrt(1 - ALIKE**2) * own)
    sums = np.sort((values @ directions).T, axis=1)  # (size, n_rows)
    quantiles = random.permutation(np.linspace(*_QUANTILES, size))
    at = np.rint(quantiles * (len(values) - 1)).astype(np.intp)
    return np.vstack([directions, -sums[np.arange(size), at]])


def _unit(values: Doubles, directions: Doubles) -> Doubles:
    """Return *directions* (n_in, n), scaled so that the rows' sums deviate by 1 along each."""
    deviation = (values @ directions).std(axis=0)
    return directions / np.where(deviation > 0, deviation, 1)


def _regression(values: Doubles, wanted: Doubles, ridge: float) -> Doubles:
    """Return the ridge regression of *wanted* (n_rows, n) on *values*: (n_in + 1, n), bias last."""
    centred = values - values.mean(axis=0)
    gram = centred.T @ centred / len(values) + ridge * np.eye(values.shape[1])
    slopes = np.linalg.solve(gram, centred.T @ (wanted - wanted.mean(axis=0)) / len(values))
    return np.vstack([slopes, wanted.mean(axis=0) - values.mean(axis=0) @ slopes])


def _with_bias(values: Doubles) -> Doubles:
    return np.hstack([values, np.ones((len(values), 1))])
