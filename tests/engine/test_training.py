"""Training: slopes, steps, start weights."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbngtrain.engine import slopes as slopes_module
from cbngtrain.engine.activation import Activation, activated
from cbngtrain.engine.network import Floats, Layer, Network
from cbngtrain.engine.slopes import EpochResult, Slopes, stepwise, tanh_error
from cbngtrain.engine.start_weights import start_weights
from cbngtrain.engine.training import Limits, Rprop, best_trained, trained
from cbngtrain.engine.training_rows import TrainingRows

Doubles = npt.NDArray[np.float64]

SIZES = (6, 5, 4, 2)


def example(
    seed: int, sizes: Sequence[int] = SIZES, rows: int = 40
) -> tuple[list[Floats], TrainingRows]:
    """Return random weights and rows for them."""
    random = np.random.default_rng(seed)
    inputs = random.random((rows, sizes[0]), np.float32)
    inputs[:, 1] = 0  # as many of the core's inputs are in every row
    wanted = (random.random((rows, sizes[-1])) < 0.5).astype(np.float32)
    weights = [random.normal(size=(a + 1, b)).astype(np.float32) for a, b in pairwise(sizes)]
    return weights, TrainingRows(inputs, wanted)


def logistic(s: float) -> float:
    """The true sigmoid, in libfann's scale."""
    return 1 / (1 + math.exp(-2 * s))


def in_steps(s: float) -> float:
    """Its stand-in of straight lines, written down from the contract."""
    points = [(-2.64665246, 0.005), (-1.47221947, 0.05), (-0.549306154, 0.25)]
    points += [(0.549306154, 0.75), (1.47221935, 0.95), (2.64665294, 0.995)]
    if s < points[0][0]:
        return 0.0
    if s > points[-1][0]:
        return 1.0
    (x1, y1), (x2, y2) = next(pair for pair in pairwise(points) if s <= pair[1][0])
    return y1 + (y2 - y1) * (s - x1) / (x2 - x1)


def plainly(
    weights: Sequence[Doubles], rows: TrainingRows, sigmoid: Callable[[float], float]
) -> tuple[float, list[Doubles]]:
    """
    Return an epoch's objective and slopes in 64 bits, neuron by neuron, as the contract says.

    The objective is what the tanh error function is the derivative of: the sum over all outputs
    of -((1 + d) ln(1 + d) + (1 - d) ln(1 - d)).
    """
    objective = 0.0
    slopes = [np.zeros_like(layer) for layer in weights]
    for inputs, wanted in zip(rows.inputs.tolist(), rows.wanted.tolist(), strict=True):
        values = [[*inputs, 1.0]]
        for layer in weights:
            sums = [
                sum(w * v for w, v in zip(column, values[-1], strict=True)) for column in layer.T
            ]
            values.append([*(sigmoid(0.5 * s) for s in sums), 1.0])
        deltas = []
        for target, y in zip(wanted, values[-1], strict=False):
            d = target - y
            objective -= sum(x * math.log(x) if x else 0.0 for x in (1 + d, 1 - d))
            error = math.log((1 + d) / (1 - d)) if abs(d) <= 0.9999999 else math.copysign(17, d)
            deltas.append(error * derivative(y))
        for i in reversed(range(len(weights))):
            slopes[i] += np.outer(values[i], deltas)
            below = [
                sum(w * delta for w, delta in zip(row, deltas, strict=True)) * derivative(y)
                for row, y in zip(weights[i], values[i], strict=True)
            ]
            deltas = below[:-1]  # the bias neuron has nothing below it
    return objective, slopes


def derivative(y: float) -> float:
    """The sigmoid's derivative from its output."""
    y = min(max(y, 0.01), 0.99)
    return 2 * 0.5 * y * (1 - y)


def finite_differences(weights: Sequence[Doubles], rows: TrainingRows) -> Doubles:
    """Return the true sigmoid's objective's slope along each weight, layer by layer, flat."""
    differences = []
    for layer in weights:
        for at in np.ndindex(layer.shape):
            objectives = []
            for step in (1e-5, -1e-5):
                layer[at] += step
                objectives.append(plainly(weights, rows, logistic)[0])
                layer[at] -= step
            differences.append((objectives[0] - objectives[1]) / 2e-5)
    return np.array(differences)


def flat(layers: Sequence[npt.NDArray[np.floating]]) -> npt.NDArray[np.floating]:
    """Return all layers' numbers in a row."""
    return np.concatenate([layer.ravel() for layer in layers])


def test_plain_slopes_are_the_gradient() -> None:
    """With the true sigmoid the plain slopes are the objective's, by finite differences."""
    start, rows = example(3, (3, 3, 2), 5)
    weights = [0.3 * layer.astype(np.float64) for layer in start]
    _, slopes = plainly(weights, rows, logistic)
    assert flat(slopes) == pytest.approx(finite_differences(weights, rows), rel=1e-7, abs=1e-8)


@pytest.mark.parametrize("sizes", [SIZES, (6, 5, 1), (4, 1), (3, 2, 2, 2, 1)], ids=str)
@pytest.mark.parametrize("rows", [1, 7, 60])
def test_slopes(sizes: tuple[int, ...], rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slopes and error are those of the plain epoch: blocks, shares and layers change nothing."""
    monkeypatch.setattr(slopes_module, "_BLOCK_ROWS", 4)
    weights, some = example(rows, sizes, rows)
    with Slopes(sizes, some.inputs, some.wanted) as slopes:
        result = slopes.at(weights)
    _, plain = plainly([layer.astype(np.float64) for layer in weights], some, in_steps)
    assert flat(result.slopes) == pytest.approx(flat(plain), rel=1e-4, abs=1e-4)
    outputs = Network(tuple(map(Layer, weights))).run(some.inputs)
    assert result.error == pytest.approx(((some.wanted - outputs) ** 2).mean(), rel=1e-5)
    assert result.bit_fail == (abs(some.wanted - outputs) >= 0.35).sum()


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads give the same bytes as none."""
    weights, rows = example(5, (30, 20, 1), 3000)
    with Slopes((30, 20, 1), rows.inputs, rows.wanted) as slopes:
        threaded = slopes.at(weights)
    monkeypatch.setattr(slopes_module, "_ROWS_FOR_THREADS", 10_000)
    with Slopes((30, 20, 1), rows.inputs, rows.wanted) as slopes:
        alone = slopes.at(weights)
    assert threaded.error == alone.error
    assert [a.tobytes() for a in threaded.slopes] == [a.tobytes() for a in alone.slopes]


@settings(deadline=None)
@given(st.lists(st.floats(-400, 400, width=32), min_size=1, max_size=50))
def test_stepwise(values: list[float]) -> None:
    """The sigmoid in passes is libfann's to one rounding, and 0 and 1 are exact."""
    sums = np.array([values], np.float32)
    out = np.empty_like(sums)
    stepwise(sums.copy(), out, np.empty_like(sums))
    theirs = activated(Activation.SIGMOID_STEPWISE, sums * np.float32(0.5))
    assert abs(out - theirs).max() <= 2e-7
    assert np.array_equal(out == 0, theirs == 0)
    assert np.array_equal(out == 1, theirs == 1)


@pytest.mark.parametrize(
    ("difference", "error"),
    [(0.0, 0.0), (0.5, math.log(3)), (-0.5, -math.log(3)), (1.0, 17.0), (-1.0, -17.0)],
)
def test_tanh_error(difference: float, error: float) -> None:
    """The tanh error function, and where it is cut off."""
    assert tanh_error(np.array([difference], np.float32)) == pytest.approx(error)


def plain_steps(slopes: Sequence[float], weight: float) -> list[float]:
    """Return where one weight is after each epoch, by the contract's words."""
    f = np.float32
    step, before, weights = f(0.1), f(0), [f(weight)]
    for given_slope in slopes:
        slope = f(given_slope)
        step = max(step, f(0.0001))
        if slope * before < 0:
            step, slope = f(0.5) * step, f(0)
        else:
            step = min(f(1.2) * step, f(50))
        moved = weights[-1] - step if slope < 0 else weights[-1] + step
        weights.append(min(max(moved, f(-1500)), f(1500)))
        before = slope
    return [float(w) for w in weights[1:]]


def our_steps(slopes: Sequence[float], weight: float) -> list[float]:
    """Return where one weight is after each epoch, by `Rprop`."""
    layer = Rprop(np.array([[weight]], np.float32))
    weights = []
    for slope in slopes:
        layer.move(np.array([[slope]], np.float32))
        weights.append(float(layer.weights[0, 0]))
    return weights


signs = st.sampled_from([-2.5, -1e-9, 0.0, 1e-9, 1.0])


@settings(deadline=None)
@given(st.lists(signs, min_size=1, max_size=60), st.floats(-1500, 1500, width=32))
def test_steps(slopes: list[float], weight: float) -> None:
    """A weight goes where a plain second implementation takes it, to the last bit."""
    assert our_steps(slopes, weight) == plain_steps(slopes, weight)


def test_stops_at_the_desired_error() -> None:
    """Training ends with the epoch whose error is low enough, or with the last."""
    weights, rows = example(7, (6, 5, 1), 20)
    reports: dict[int, EpochResult] = {}
    with Slopes((6, 5, 1), rows.inputs, rows.wanted) as slopes:
        trained(weights, slopes, Limits(9, 0.0), reports.__setitem__)
        assert list(reports) == list(range(1, 10))
        desired = reports[4].error
        assert min(reports[epoch].error for epoch in (1, 2, 3)) > desired
        reports.clear()
        trained(weights, slopes, Limits(9, desired), reports.__setitem__)
    assert list(reports) == [1, 2, 3, 4]


@pytest.mark.parametrize("epochs", [1, 2, 5, 30])
def test_keeps_the_best(epochs: int) -> None:
    """The best weights have the lowest error of all epochs, and that is what is said of them."""
    weights, rows = example(8, (6, 5, 1), 60)
    reports: dict[int, EpochResult] = {}
    with Slopes((6, 5, 1), rows.inputs, rows.wanted) as slopes:
        kept = best_trained(weights, slopes, Limits(epochs, 0.0), reports.__setitem__)
        assert slopes.at(kept.weights).error == kept.result.error
        final = slopes.at(trained(weights, slopes, Limits(epochs, 0.0), reports.__setitem__)).error
    assert kept.result.error == min(final, *(result.error for result in reports.values()))


@pytest.mark.parametrize("sizes", [(6, 5, 1), SIZES, (6, 1)], ids=str)
def test_start_weights(sizes: tuple[int, ...]) -> None:
    """A start has the shape that was asked for, a seed's own weights, and a low error."""
    _, rows = example(9, sizes, 200)
    rows = TrainingRows(rows.inputs, (rows.inputs[:, : sizes[-1]] > 0.5).astype(np.float32))
    first, again, other = (
        start_weights(sizes, rows, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert [layer.shape for layer in first] == [(a + 1, b) for a, b in pairwise(sizes)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len(sizes) == 2 or not np.array_equal(first[0], other[0])
    outputs = Network(tuple(map(Layer, first))).run(rows.inputs)
    assert ((outputs - rows.wanted) ** 2).mean() < 0.15


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(TrainingRows(np.zeros((1, 6), "f4"), np.ones((1, 1), "f4")), id="one row"),
        pytest.param(TrainingRows(np.ones((9, 6), "f4"), np.zeros((9, 1), "f4")), id="all alike"),
        pytest.param(
            TrainingRows(np.full((9, 6), 3e38, "f4"), np.eye(9, 1, dtype="f4")), id="huge inputs"
        ),
    ],
)
def test_start_weights_of_odd_rows(rows: TrainingRows) -> None:
    """Rows that teach nothing give a start all the same, with finite weights."""
    weights = start_weights((6, 5, 1), rows, np.random.default_rng(1))
    assert all(np.isfinite(layer).all() for layer in weights)
