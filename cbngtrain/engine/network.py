"""
The network: layers of neurons, run as libfann runs them, kept in libfann's text format.

The arithmetic is that of FANN 2.2 in 32-bit floats, sum by sum in libfann's order, so the
outputs are libfann's to the last bit and a row's do not depend on which rows stand beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from cbngtrain.engine import fann_format
from cbngtrain.engine.activation import Activation, activated
from cbngtrain.engine.errors import FormatError

Floats = npt.NDArray[np.float32]

STEEPNESS = 0.5  # of every neuron the core makes (libfann's default)

_ROWS_AT_ONCE = 64  # by 100 neurons of float32: stays in the first-level cache (measured)

_MAX_SUM = 150  # fann_run: a sum is held within ±150 / steepness


@dataclass(frozen=True, slots=True)
class Layer:
    """
    One layer of neurons that are connected to all neurons of the layer before.

    Attributes:
        weights: Shape (n_inputs + 1, n_neurons); the last row is that of the bias neuron.
        activation: What every neuron makes of its sum.
        steepness: What the sum is multiplied with first.
    """

    weights: Floats
    activation: Activation = Activation.SIGMOID_STEPWISE
    steepness: float = STEEPNESS


@dataclass(frozen=True, slots=True)
class Network:
    """
    A fully connected network with a bias neuron in each layer.

    Attributes:
        layers: The hidden layers and the output layer, in the order in which they are run.
    """

    layers: tuple[Layer, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons per layer, inputs first, bias neurons not counted: (161, 100, 1)."""
        return (len(self.layers[0].weights) - 1, *(layer.weights.shape[1] for layer in self.layers))

    def run(self, inputs: npt.ArrayLike) -> Floats:
        """
        Return the network's outputs, bit by bit those of libfann's ``fann_run``.

        Args:
            inputs: Shape (n_edits, n_inputs); taken as 32-bit floats.

        Returns:
            Shape (n_edits, n_outputs). A row depends on its own inputs only, not on the others.
        """
        values = np.asarray(inputs, np.float32)
        outputs = np.empty((len(values), self.sizes[-1]), np.float32)
        for start in range(0, len(values), _ROWS_AT_ONCE):
            block = values[start : start + _ROWS_AT_ONCE]
            for layer in self.layers:
                block = _outputs(layer, block)
            outputs[start : start + _ROWS_AT_ONCE] = block
        return outputs


def load_network(path: Path) -> Network:
    """
    Return the network in a file of libfann's text format.

    Raises:
        FormatError: The file is missing, cut or malformed (with the line), or holds a network of
            a kind that the core never makes: sparse, shortcut, or with neurons that differ within
            a layer.
    """
    file = fann_format.read(path)
    layers = []
    weights = file.weights
    first = file.sizes[0] + 1
    for n_in, n_out in pairwise(file.sizes):
        count = (n_in + 1) * n_out
        # libfann keeps a neuron's weights together: (n_out, n_in + 1)
        block, weights = weights[:count].reshape(n_out, n_in + 1), weights[count:]
        activation, steepness = _alike(path, file.neurons[first : first + n_out])
        layers.append(Layer(np.ascontiguousarray(block.T), activation, steepness))
        first += n_out + 1
    return Network(tuple(layers))


def write_network(file: BinaryIO, network: Network) -> None:
    """Write *network* in libfann's text format."""
    kinds = [(int(layer.activation), layer.steepness) for layer in network.layers]
    weights = np.concatenate([layer.weights.T.ravel() for layer in network.layers])
    sizes = network.sizes
    neurons = fann_format.neurons_of(sizes, kinds)
    fann_format.write(file, fann_format.FannFile(sizes, neurons, weights))


def _alike(path: Path, neurons: Sequence[fann_format.Neuron]) -> tuple[Activation, float]:
    """Return the activation function and the steepness that all neurons of a layer have."""
    kinds = {(neuron.activation, neuron.steepness) for neuron in neurons}
    if len(kinds) > 1:
        raise FormatError(path, "neurons", "differ within a layer; the engine has no such networks")
    ((number, steepness),) = kinds
    if number not in set(Activation):
        raise FormatError(path, "neurons", f"activation function {number} is not supported")
    return Activation(number), steepness


def _outputs(layer: Layer, inputs: Floats) -> Floats:
    """
    Return a layer's outputs, shape (n_rows, n_neurons), for *inputs*, shape (n_rows, n_inputs).

    The sums are added up as ``fann_run`` does: first what is left over of whole fours, from the
    last one down, then the fours, each added up by itself. The bias neuron is the last input.
    """
    n_terms = len(layer.weights)
    sums = np.zeros((len(inputs), layer.weights.shape[1]), np.float32)
    four, term = np.empty_like(sums), np.empty_like(sums)

    def product(i: int, out: Floats) -> Floats:
        value = inputs[:, i : i + 1] if i < n_terms - 1 else np.float32(1)
        np.multiply(value, layer.weights[i], out=out)
        return out

    for i in reversed(range(n_terms % 4)):
        sums += product(i, term)
    for i in range(n_terms % 4, n_terms, 4):
        product(i, four)
        for k in range(i + 1, i + 4):
            four += product(k, term)
        sums += four
    sums *= np.float32(layer.steepness)
    limit = np.float32(_MAX_SUM) / np.float32(layer.steepness)
    np.clip(sums, -limit, limit, out=sums)
    return activated(layer.activation, sums)
