"""
libfann's text format, ``FANN_FLO_2.1``: line by line ``name=value``, in a fixed order.

Written as libfann 2.2 writes it (fann_io.c), read as strictly as its fields matter: what the
core's networks do not use (cascade training, quickprop) is written with libfann's defaults and
not looked at when read. Nor is scaling: libfann runs a network as if it had none.
"""

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from cbngtrain.engine.errors import FormatError

VERSION = "FANN_FLO_2.1"

NEURONS = "neurons (num_inputs, activation_function, activation_steepness)"
CONNECTIONS = "connections (connected_to_neuron, weight)"

_HEADER = """FANN_FLO_2.1
num_layers={num_layers}
learning_rate=0.700000
connection_rate=1.000000
network_type=0
learning_momentum=0.000000
training_algorithm=2
train_error_function=1
train_stop_function=0
cascade_output_change_fraction=0.010000
quickprop_decay=-0.000100
quickprop_mu=1.750000
rprop_increase_factor=1.200000
rprop_decrease_factor=0.500000
rprop_delta_min=0.000000
rprop_delta_max=50.000000
rprop_delta_zero=0.100000
cascade_output_stagnation_epochs=12
cascade_candidate_change_fraction=0.010000
cascade_candidate_stagnation_epochs=12
cascade_max_out_epochs=150
cascade_min_out_epochs=50
cascade_max_cand_epochs=150
cascade_min_cand_epochs=50
cascade_num_candidate_groups=2
bit_fail_limit=3.49999994039535522461e-01
cascade_candidate_limit=1.00000000000000000000e+03
cascade_weight_multiplier=4.00000005960464477539e-01
cascade_activation_functions_count=10
cascade_activation_functions=3 5 7 8 10 11 14 15 16 17{blank}
cascade_activation_steepnesses_count=4
cascade_activation_steepnesses=2.50000000000000000000e-01 5.00000000000000000000e-01 \
7.50000000000000000000e-01 1.00000000000000000000e+00{blank}"""
"""libfann's defaults, which the core leaves as they are, in libfann's order (fann_io.c)."""

# Possessive, as nothing of a number can be part of what follows it: twice as fast.
_NUMBER = r"[+-]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+"
_NEURONS = re.compile(rf"\s*+(?:\([0-9]{{1,9}}, [0-9]{{1,9}}, {_NUMBER}\)\s*+)*+")
_CONNECTIONS = re.compile(rf"\s*+(?:\([0-9]{{1,9}}, {_NUMBER}\)\s*+)*+")
_BLANKS = str.maketrans("(),", "   ")


class Neuron(NamedTuple):
    """One entry of the file's neurons; inputs and bias neurons are all zeros."""

    num_inputs: int
    activation: int
    steepness: float


class FannFile(NamedTuple):
    """
    What a file says.

    Attributes:
        sizes: Neurons per layer, inputs first, without the bias neuron that each layer has.
        neurons: All neurons, layer by layer, each layer's bias neuron last.
        weights: Shape (n_connections,): neuron by neuron, each from all neurons of the layer
            before, its bias neuron last.
    """

    sizes: tuple[int, ...]
    neurons: tuple[Neuron, ...]
    weights: npt.NDArray[np.float32]


def read(path: Path) -> FannFile:
    """
    Return what the file says.

    Raises:
        FormatError: The file is missing, cut or malformed (with the line), or the network is not
            a fully connected one, layer to layer.
    """
    fields = _fields(path)
    fields.expect("connection_rate", 1)
    fields.expect("network_type", 0)
    sizes = fields.layer_sizes()
    neurons = fields.neurons(sizes)
    return FannFile(sizes, neurons, fields.weights(sizes))


def write(out: BinaryIO, file: FannFile) -> None:
    """Write *file* to *out* as libfann does: 21 digits, which give each 32-bit float back."""
    layer_sizes = [size + 1 for size in file.sizes]
    connected_to = _connected_to(file.sizes)
    lines = (
        _HEADER.format(num_layers=len(layer_sizes), blank=" "),
        "layer_sizes=" + "".join(f"{size} " for size in layer_sizes),
        "scale_included=0",
        f"{NEURONS}=" + "".join(f"({n}, {kind}, {s:.20e}) " for n, kind, s in file.neurons),
        f"{CONNECTIONS}="
        + "".join(f"({i}, {w:.20e}) " for i, w in zip(connected_to, file.weights, strict=True)),
    )
    out.write("".join(f"{line}\n" for line in lines).encode("ascii"))


def neurons_of(sizes: Sequence[int], kinds: Sequence[tuple[int, float]]) -> tuple[Neuron, ...]:
    """
    Return the neurons of a fully connected network, each layer's bias neuron last.

    Args:
        sizes: As in `FannFile`.
        kinds: Activation and steepness of each layer after the first.
    """
    unconnected = Neuron(0, 0, 0.0)
    neurons = [unconnected] * (sizes[0] + 1)
    for (n_in, n_out), (activation, steepness) in zip(pairwise(sizes), kinds, strict=True):
        neurons += [Neuron(n_in + 1, activation, steepness)] * n_out + [unconnected]
    return tuple(neurons)


class _Field(NamedTuple):
    """A line ``name=value``."""

    line: int
    value: str


class _Fields:
    """The lines of one file, by name, and how to read them."""

    def __init__(self, path: Path, fields: dict[str, _Field]) -> None:
        self.path = path
        self.fields = fields

    def field(self, name: str) -> _Field:
        if name not in self.fields:
            raise FormatError(self.path, f"line {len(self.fields) + 2}", f"{name} is missing")
        return self.fields[name]

    def error(self, name: str, problem: str) -> FormatError:
        return FormatError(self.path, f"line {self.field(name).line}", problem)

    def expect(self, name: str, wanted: float) -> None:
        value = self.field(name).value.strip()
        if not re.fullmatch(_NUMBER, value) or float(value) != wanted:
            raise self.error(name, f"{name} is {value[:40]!r}; the engine knows {wanted} only")

    def layer_sizes(self) -> tuple[int, ...]:
        words = self.field("layer_sizes").value.split()
        if len(words) < 2 or not all(re.fullmatch(r"\d{1,9}", word) for word in words):
            raise self.error("layer_sizes", "layer_sizes needs two or more whole numbers")
        self.expect("num_layers", len(words))
        if min(map(int, words)) < 2:
            raise self.error("layer_sizes", "every layer needs a neuron and a bias neuron")
        return tuple(int(word) - 1 for word in words)

    def neurons(self, sizes: Sequence[int]) -> tuple[Neuron, ...]:
        neurons = tuple(
            Neuron(int(num_inputs), int(activation), steepness)
            for num_inputs, activation, steepness in self.entries(NEURONS, _NEURONS, 3).tolist()
        )
        mismatch = self.error(NEURONS, f"the neurons are not those of fully connected {sizes}")
        if len(neurons) != sum(sizes) + len(sizes):  # before so many are made to be compared
            raise mismatch
        if not all(math.isfinite(neuron.steepness) for neuron in neurons):
            raise self.error(NEURONS, "a steepness is not finite")
        wanted = neurons_of(sizes, [(0, 0.0)] * (len(sizes) - 1))
        if [neuron.num_inputs for neuron in neurons] != [neuron.num_inputs for neuron in wanted]:
            raise mismatch
        return neurons

    def weights(self, sizes: Sequence[int]) -> npt.NDArray[np.float32]:
        entries = self.entries(CONNECTIONS, _CONNECTIONS, 2)
        connected_to, weights = entries[:, 0], entries[:, 1]
        count = sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes))
        if len(weights) != count:
            raise self.error(CONNECTIONS, f"{len(weights)} connections where {count} belong")
        if connected_to.tolist() != _connected_to(sizes):
            raise self.error(CONNECTIONS, f"the connections are not those of {sizes}")
        if np.abs(weights).max() > np.finfo(np.float32).max:
            raise self.error(CONNECTIONS, "a weight is beyond 32-bit floats")
        return weights.astype(np.float32)

    def entries(self, name: str, form: re.Pattern[str], width: int) -> npt.NDArray[np.float64]:
        """The entries of *width* numbers, all of the *form*, shape (n_entries, width)."""
        text = self.field(name).value
        end = match.end() if (match := form.match(text)) else 0
        if end < len(text) or not text.strip():
            raise self.error(name, f"cut or malformed near {text[end : end + 40].strip()!r}")
        return np.fromstring(text.translate(_BLANKS), np.float64, sep=" ").reshape(-1, width)


def _fields(path: Path) -> _Fields:
    """Return the lines of *path* by their names."""
    try:
        lines = path.read_bytes().decode("ascii").split("\n")
    except OSError as error:
        raise FormatError(path, "", f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FormatError(path, "line 1", f"is not a {VERSION} file") from error
    if lines[0].strip() != VERSION:
        raise FormatError(path, "line 1", f"is not a {VERSION} file")
    fields = {}
    for number, line in enumerate(lines[1:], 2):
        if line.strip():
            name, equals, value = line.partition("=")
            if not equals or name in fields:
                raise FormatError(path, f"line {number}", f"unexpected: {line[:40]!r}")
            fields[name] = _Field(number, value)
    return _Fields(path, fields)


def _connected_to(sizes: Sequence[int]) -> list[int]:
    """Return, per connection, the number of the neuron that it comes from, inputs from 0."""
    numbers: list[int] = []
    first = 0
    for n_in, n_out in pairwise(sizes):
        numbers += list(range(first, first + n_in + 1)) * n_out
        first += n_in + 1
    return numbers
