"""Where training starts."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from cbngtrain.engine.network import Floats
from cbngtrain.engine.training_rows import TrainingRows


def start_weights(
    sizes: Sequence[int], rows: TrainingRows, random: np.random.Generator
) -> list[Floats]:
    """Return weights uniform in ±0.1, per layer (n_inputs + 1, n_neurons)."""
    del rows
    return [
        random.uniform(-0.1, 0.1, (n_in + 1, n_out)).astype(np.float32)
        for n_in, n_out in pairwise(sizes)
    ]
