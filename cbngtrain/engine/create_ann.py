"""
``create_ann OUT.fann IN.dat MAX_EPOCHS DESIRED_ERROR HIDDEN…``: train a network.

Prints what the native core prints. Two variables of its own: ``CBNG_SEED`` (a whole number, 1)
decides the start weights; ``CBNG_START_WEIGHTS`` names a network to start from instead.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from cbngtrain.engine.activation import Activation
from cbngtrain.engine.errors import EngineError, FormatError
from cbngtrain.engine.network import STEEPNESS, Floats, Layer, Network, load_network, write_network
from cbngtrain.engine.output import whole_file
from cbngtrain.engine.slopes import EpochResult, Slopes
from cbngtrain.engine.start_weights import start_weights
from cbngtrain.engine.training import Limits, best_trained, trained
from cbngtrain.engine.training_rows import TrainingRows, read_training_rows

USAGE = "usage: create_ann OUT.fann IN.dat MAX_EPOCHS DESIRED_ERROR HIDDEN…"

DEFAULT_SEED = "1"


class Command(NamedTuple):
    """
    What the command line and the environment ask for.

    Attributes:
        desired_error: A mean squared error; training stops at it.
        hidden: Neurons per hidden layer.
    """

    network: Path
    rows: Path
    max_epochs: int
    desired_error: float
    hidden: tuple[int, ...]
    seed: int
    start: Path | None

    @classmethod
    def parse(cls, args: Sequence[str], env: Mapping[str, str]) -> Self:
        """
        Return what *args* and *env* ask for.

        Raises:
            EngineError: An argument or a variable is missing or malformed.
        """
        if len(args) < 5:
            raise EngineError(USAGE)
        network, rows, epochs, desired_error, *hidden = args
        start = env.get("CBNG_START_WEIGHTS")
        return cls(
            Path(network),
            Path(rows),
            _whole_number("MAX_EPOCHS", epochs, 1),
            _error("DESIRED_ERROR", desired_error),
            tuple(_whole_number("HIDDEN", size, 1) for size in hidden),
            _whole_number("CBNG_SEED", env.get("CBNG_SEED", DEFAULT_SEED), 0),
            Path(start) if start else None,
        )


def main(args: Sequence[str], env: Mapping[str, str]) -> int:
    """
    Run the program with its arguments.

    Raises:
        EngineError: Wrong usage, or OUT.fann cannot be written.
        FormatError: IN.dat or the start weights are not what they should be. OUT.fann is then
            left as it was.
    """
    command = Command.parse(args, env)
    rows = read_training_rows(command.rows)
    sizes = (rows.inputs.shape[1], *command.hidden, rows.wanted.shape[1])
    start = _given(command.start, sizes) if command.start else None
    with whole_file(command.network) as file:  # opened now: better refused before than after
        print(f"Inputs: {sizes[0]}  Outputs: {sizes[-1]}")
        print(f"Max epochs {command.max_epochs:8d}. Desired error: {command.desired_error:.10f}.")
        weights = _trained(command, sizes, rows, start)
        print("Saving file.")
        write_network(file, Network(tuple(Layer(layer) for layer in weights)))
    return 0


def _trained(
    command: Command, sizes: Sequence[int], rows: TrainingRows, start: list[Floats] | None
) -> list[Floats]:
    """Return the trained weights: libfann's own from given start weights, else the best."""
    limits = Limits(command.max_epochs, command.desired_error)
    with Slopes(sizes, rows.inputs, rows.wanted) as slopes:
        if start is not None:
            return trained(start, slopes, limits, _print)
        start = start_weights(sizes, rows, np.random.default_rng(command.seed))
        weights, after, result = best_trained(start, slopes, limits, _print)
    print(f"Kept after {after:8d}. Current error: {result.error:.10f}. Bit fail {result.bit_fail}.")
    return weights


def _print(epoch: int, result: EpochResult) -> None:
    """Print a line as libfann does."""
    told = f"Current error: {result.error:.10f}. Bit fail {result.bit_fail}."
    print(f"Epochs     {epoch:8d}. {told}", flush=True)


def _given(path: Path, sizes: tuple[int, ...]) -> list[Floats]:
    """Return the weights of the network in *path*, which must be one that can be trained here."""
    network = load_network(path)
    if network.sizes != sizes:
        problem = f"is a network of {_dashed(network.sizes)}, not {_dashed(sizes)}"
        raise FormatError(path, "", problem)
    kinds = {(layer.activation, layer.steepness) for layer in network.layers}
    if kinds != {(Activation.SIGMOID_STEPWISE, STEEPNESS)}:
        raise FormatError(path, "", "only stepwise sigmoids of steepness 0.5 can be trained")
    return [layer.weights for layer in network.layers]


def _dashed(sizes: Sequence[int]) -> str:
    return "-".join(map(str, sizes))


def _whole_number(name: str, text: str, least: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
        raise EngineError(f"{name}: {text!r} is not a whole number from {least} to 999999999")
    return int(text)


def _error(name: str, text: str) -> float:
    """Return a mean squared error as libfann holds it, in 32 bits."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise EngineError(f"{name}: {text!r} is not a number from 0 to 1")
    return float(np.float32(value))
