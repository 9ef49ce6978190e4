"""Steps that run the core in one place, steps that run none in another."""

import os
import threading
from collections.abc import Mapping

from cbngtrain.build import Dispatcher
from cbngtrain.step import Fingerprint, Made, Step


class SplitDispatcher:
    """Runs each step in the place for its program."""

    def __init__(self, core: Dispatcher, trainer: Dispatcher) -> None:
        """
        Args:
            core: Where the core runs.
            trainer: Where the trainer's own programs run: on this machine, as many at once as it
                has processors, however many steps are waited for.
        """
        self._core = core
        self._trainer = trainer
        self._processors = threading.BoundedSemaphore(os.cpu_count() or 1)

    def run(self, step: Step, key: Fingerprint, inputs: Mapping[str, Made]) -> None:
        """See `Dispatcher`."""
        if step.recipe.program != "trainer":
            self._core.run(step, key, inputs)
            return
        with self._processors:
            self._trainer.run(step, key, inputs)
