"""How long a whole build may take, and what that means for a step."""

import math
import time
from collections.abc import Callable

from cbngtrain.errors import DispatchError
from cbngtrain.step import Step


class Deadline:
    """The end of a build, if it has one; it begins with its making."""

    def __init__(
        self, seconds: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
            seconds: How long the build may take; None for as long as it takes.
            clock: Seconds that never go back.
        """
        self._clock = clock
        self._end = math.inf if seconds is None else clock() + seconds

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self._end - self._clock()

    def admit(self, step: Step, expected: float | None) -> None:
        """
        Refuse *step* if it could not end in time.

        Args:
            step: What is about to start.
            expected: The seconds that it took before, if it was made before.

        Raises:
            DispatchError: It is left to the next build.
        """
        if self.left <= (expected or 0.0):
            took = f"it took {expected:.0f} s before, and " if expected else ""
            raise DispatchError(
                f"{step.name} is left to the next build: {took}CBNG_DEADLINE leaves "
                f"{max(self.left, 0):.0f} s"
            )
