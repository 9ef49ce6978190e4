"""
The error of a network over all rows, and its slope along every weight: one epoch's arithmetic.

All rows go through the layers in blocks, as matrix products in 32-bit floats. Within a block a
column is a row of the training file, so a layer's neurons are contiguous and its bias neuron is
one more line of ones.

The rows are dealt into a fixed number of shares, which threads take one by one; numpy lets them
run side by side. A share's blocks are summed in order, then the shares in order, whichever thread
did which and when: the same rows and weights give the same bytes again, however busy the machine
is and however many processors it has.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from cbngtrain.engine import blas
from cbngtrain.engine.activation import STEPWISE
from cbngtrain.engine.network import STEEPNESS

Floats = npt.NDArray[np.float32]

BIT_FAIL = np.float32(0.35)  # |wanted - output| from which on an output counts as wrong (fann.c)

LOWEST_OUTPUT, HIGHEST_OUTPUT = (
    np.float32(0.01),
    np.float32(0.99),
)  # for the derivative only (fann_train.c)

LARGEST_DIFFERENCE = 0.9999999  # beyond it the tanh error function is ±17 (fann_train.c)
LARGEST_ERROR = 17.0

_ZERO, _MIDDLE, _ONE = np.float32(0), np.float32(0.5), np.float32(1)

_BLOCK_ROWS = 1024  # fewer: numpy's calls show; more: the second-level cache overflows (measured)
_SHARES = 4  # part of the result, so a constant and not the number of processors
_ROWS_FOR_THREADS = 1024  # with fewer rows an epoch takes less than handing it out (measured)


class EpochResult(NamedTuple):
    """
    What a pass over all rows gives.

    Attributes:
        error: Mean of the squared differences (wanted - output), each in [0, 1].
        bit_fail: How many outputs are wrong by `BIT_FAIL` or more.
        slopes: Per layer, shape of its weights; positive where a larger weight makes the error
            smaller. The sum over all rows, not the mean.
    """

    error: float
    bit_fail: int
    slopes: list[Floats]


class Slopes:
    """
    All rows of a training file, laid out for the arithmetic, with its working memory and threads.

    A context manager: the threads end with the ``with`` block.
    """

    def __init__(self, sizes: Sequence[int], inputs: Floats, wanted: Floats) -> None:
        """
        Args:
            sizes: Neurons per layer, inputs first, bias neurons not counted.
            inputs: Shape (n_rows, sizes[0]).
            wanted: Shape (n_rows, sizes[-1]), each in [0, 1].
        """
        self._n_outputs = wanted.size
        self._exit = ExitStack()
        self._pool: ThreadPoolExecutor | None = None
        blas.use_one_thread()
        if len(inputs) >= _ROWS_FOR_THREADS:
            self._pool = self._exit.enter_context(ThreadPoolExecutor(_threads()))
        # An input that is 0 in every row, as a quarter of the core's are, has no slopes.
        self._used = np.flatnonzero(np.append(inputs.any(axis=0), np.True_))  # and the bias neuron
        used_sizes = (len(self._used) - 1, *sizes[1:])
        self._shares = [
            _Share(used_sizes, inputs[np.ix_(some, self._used[:-1])], wanted[some])
            for some in np.array_split(np.arange(len(inputs)), _SHARES)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def at(self, weights: Sequence[Floats]) -> EpochResult:
        """Return error and slopes at *weights*: per layer (n_inputs + 1, n_neurons), bias last."""
        run = map if self._pool is None else self._pool.map
        first, *others = weights
        used = [np.ascontiguousarray(first[self._used]), *others]
        results = list(run(partial(_Share.at, weights=used), self._shares))
        squares, bit_fails, slopes = zip(*results, strict=True)
        of_used, *summed = (sum(layer[1:], start=layer[0]) for layer in zip(*slopes, strict=True))
        of_first = np.zeros_like(first)
        of_first[self._used] = of_used
        return EpochResult(sum(squares) / self._n_outputs, sum(bit_fails), [of_first, *summed])


class _Share:
    """Some of the rows, in blocks, and what one thread needs to work on them."""

    def __init__(self, sizes: Sequence[int], inputs: Floats, wanted: Floats) -> None:
        self._shapes = [(n_in + 1, n_out) for n_in, n_out in pairwise(sizes)]
        self._blocks = []
        buffers: dict[int, list[_Buffers]] = {}
        n_blocks = -(-len(inputs) // _BLOCK_ROWS)
        for some in np.array_split(np.arange(len(inputs)), n_blocks) if n_blocks else ():
            width = len(some)
            if width not in buffers:
                buffers[width] = [_Buffers(n_out, width) for _, n_out in self._shapes]
            bias = np.ones((1, width), np.float32)
            values = np.vstack([inputs[some].T, bias])  # (n_in + 1, width)
            target = np.ascontiguousarray(wanted[some].T)  # (n_out, width)
            self._blocks.append(_Block(values, target, buffers[width]))

    def at(self, weights: Sequence[Floats]) -> tuple[float, int, list[Floats]]:
        """Return the share's sum of squared differences, bit fail and slopes."""
        squares, bit_fail = 0.0, 0
        slopes = [np.zeros(shape, np.float32) for shape in self._shapes]
        for block in self._blocks:
            difference = block.wanted - _run(block, weights)
            squares += float(np.vdot(difference, difference))
            bit_fail += int(np.count_nonzero(np.abs(difference) >= BIT_FAIL))
            _add_slopes(slopes, block, weights, difference)
        return squares, bit_fail, slopes


def _threads() -> int:
    """Return how many threads to start: one for each processor that we may use, at most."""
    return min(_SHARES, len(os.sched_getaffinity(0)))


class _Buffers:
    """
    A layer's working memory for one block.

    Attributes:
        values: Shape (n_neurons + 1, width): the outputs, and the bias neuron's ones.
        outputs: `values` without the bias neuron.
        sums, scratch: Shape (n_neurons, width).
    """

    def __init__(self, n_neurons: int, width: int) -> None:
        self.values = np.ones((n_neurons + 1, width), np.float32)
        self.outputs = self.values[:-1]
        self.sums = np.empty((n_neurons, width), np.float32)
        self.scratch = np.empty((n_neurons, width), np.float32)


class _Block(NamedTuple):
    """Some rows: inputs (n_in + 1, width), wanted outputs (n_out, width), each layer's buffers."""

    values: Floats
    wanted: Floats
    layers: list[_Buffers]


def _run(block: _Block, weights: Sequence[Floats]) -> Floats:
    """Return the block's outputs, (n_out, width); every layer's stay in its buffers."""
    values = block.values
    for layer, layer_weights in zip(block.layers, weights, strict=True):
        np.matmul(layer_weights.T, values, out=layer.sums)
        stepwise(layer.sums, layer.outputs, layer.scratch)
        values = layer.values
    return block.layers[-1].outputs


def _add_slopes(
    slopes: Sequence[Floats], block: _Block, weights: Sequence[Floats], difference: Floats
) -> None:
    """Add the block's slopes, from the last layer back, with *difference* = wanted - output."""
    *below, last = block.layers
    delta = last.sums  # from here on: what a larger sum does for the error, (n_neurons, width)
    np.copyto(delta, tanh_error(difference))
    _times_derivative(delta, last)
    for i in reversed(range(len(below))):
        slopes[i + 1] += below[i].values @ delta.T
        delta = _back(weights[i + 1][:-1], delta, below[i].sums)  # the bias neuron has no inputs
        _times_derivative(delta, below[i])
    slopes[0] += block.values @ delta.T


def _back(weights: Floats, delta: Floats, out: Floats) -> Floats:
    """Write *weights* (n_below, n_neurons) times *delta* (n_neurons, width) to *out*; return it."""
    if len(delta) == 1:  # the core's networks have one output: no matrix product, 4x as fast
        return np.multiply(weights, delta, out=out)
    return np.matmul(weights, delta, out=out)


def tanh_error(difference: Floats) -> npt.NDArray[np.float64]:
    """Return libfann's error of an output, ln((1 + d) / (1 - d)), within ±17."""
    d = np.clip(difference.astype(np.float64), -LARGEST_DIFFERENCE, LARGEST_DIFFERENCE)
    error = np.log((1 + d) / (1 - d))
    error[np.abs(difference) > LARGEST_DIFFERENCE] = LARGEST_ERROR
    return np.copysign(error, difference)


def _times_derivative(delta: Floats, layer: _Buffers) -> None:
    """
    Multiply *delta* in place with the sigmoid's derivative at the layer's outputs y.

    That is 2 · steepness · y · (1 - y) with y within 0.01…0.99 (libfann's fann_train.c);
    2 · steepness is 1.
    """
    y = layer.scratch
    layer.outputs.clip(LOWEST_OUTPUT, HIGHEST_OUTPUT, out=y)
    np.multiply(delta, y, out=delta)
    np.subtract(_ONE, y, out=y)
    np.multiply(delta, y, out=delta)


def _bends() -> tuple[list[tuple[np.float32, np.float32]], np.float32, np.float32]:
    """
    Return the stepwise sigmoid as a sum of clipped sums, and its jump.

    From 0.5 outwards the sigmoid has three slopes, each less steep than the one before. It is
    0.5 + Σ gain · clip(sum, ±corner) over the three corners, where a gain is how much less
    steep the line beyond that corner is.

    Returns:
        (corner, gain) from the outermost corner in, for sums before the steepness; the outermost
        corner's is first. Then the jump at that corner, to 0 or 1.
    """
    (x1, y1), (x2, y2), (x3, y3) = STEPWISE.points[3:]
    steep = [(y1 - 0.5) / x1, (y2 - y1) / (x2 - x1), (y3 - y2) / (x3 - x2), 0.0]
    bends = [
        (np.float32(x / STEEPNESS), np.float32((steep[i] - steep[i + 1]) * STEEPNESS))
        for i, x in enumerate((x1, x2, x3))
    ]
    return bends[::-1], bends[-1][0], np.float32(STEPWISE.high - y3)


_BENDS, _OUTERMOST, _JUMP = _bends()

_FAR = 2 * _JUMP  # further than the jump, so that the last clip makes it exactly 0 or 1

_ENDLESS = np.float32(1e6)  # makes the least distance beyond the outermost corner exceed the jump


def stepwise(sums: Floats, out: Floats, scratch: Floats) -> None:
    """
    Write the stepwise sigmoid of *sums* (before the steepness) to *out*; all of one shape.

    Passes in place: `numpy.clip` and products run at the cache's speed, where `numpy.interp` or
    masks take ten times as long. A saturated output must be exactly 0 or 1: an error of one
    rounding would decide the signs of slopes that are otherwise 0, and iRPROP- uses only signs.
    """
    sums.clip(-_OUTERMOST, _OUTERMOST, out=scratch)
    np.subtract(sums, scratch, out=out)  # 0 within the corners
    np.multiply(out, _ENDLESS, out=out)
    out.clip(-_FAR, _FAR, out=out)
    np.add(out, _MIDDLE, out=out)
    for corner, gain in _BENDS:
        scratch.clip(-corner, corner, out=scratch)
        np.multiply(scratch, gain, out=sums)
        np.add(out, sums, out=out)
    out.clip(_ZERO, _ONE, out=out)
