"""How often a step is tried elsewhere, and with how much memory; each reason has its own budget."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cbngtrain.dispatch.classify import Means, Verdict
from cbngtrain.dispatch.manifest import Room
from cbngtrain.dispatch.slots import UNBOUNDED
from cbngtrain.errors import DispatchError, StepFailed, StepTimedOut
from cbngtrain.step import Step

log = logging.getLogger(__name__)

INTERRUPTIONS = 3  # how often a step is tried again that the infrastructure interrupted


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """
    How a step is tried.

    Attributes:
        step: Which.
        where: What runs it, for people: ``pod cbng-…``.
        most: MiB that it may have.
        again: Seconds before the second try; before each further one twice as many.
        pause: Waits that many seconds; raises DispatchError to end that.
    """

    step: Step
    where: str
    most: int
    again: float
    pause: Callable[[float], None]

    def run(self, need: Room, attempt: Callable[[Room], Verdict | None]) -> None:
        """
        Try until the step's record is there.

        Args:
            need: What it takes at first.
            attempt: Runs it once with so much; returns why there is no record, or None where
                there is.

        Raises:
            StepFailed: It failed for good.
            StepTimedOut: It was stopped.
            DispatchError: The infrastructure does not let it run.
        """
        had: list[int] = []
        interruptions = 0
        while (verdict := attempt(need)) is not None:
            if verdict.means is Means.OUT_OF_MEMORY:
                had.append(need.memory)
                need = replace(need, memory=self._more_memory(had, verdict))
            elif verdict.means is Means.INTERRUPTED:
                interruptions += 1
                self._bear(interruptions, verdict)
            else:
                raise self._failure(verdict)

    def _more_memory(self, had: Sequence[int], verdict: Verdict) -> int:
        """
        Return the MiB for the one further try of a step that ran out of memory.

        Args:
            had: The MiB that it had, each time.
            verdict: How it ended.

        Raises:
            StepFailed: It had twice as much already, or there is no more.
        """
        more = min(2 * had[-1], self.most)
        if len(had) > 1 or more <= had[-1]:
            amounts = " and then ".join(f"{each} MiB" for each in had)
            is_limited = self.most < UNBOUNDED.memory
            limit = f"a pod may have {self.most} MiB" if is_limited else "there is no limit"
            problem = f"its memory: {verdict.why}, with {amounts} ({limit}; CBNG_MEMORY_SCALE)"
            raise StepFailed(self.step.name, problem, _log_of(verdict))
        log.warning("%s: %s, with %d MiB; trying once more with %d MiB", self.step.name,
                    verdict.why, had[-1], more)  # fmt: skip
        return more

    def _bear(self, interruptions: int, verdict: Verdict) -> None:
        """Wait before the next try; raises DispatchError if there were so many already."""
        if interruptions > INTERRUPTIONS:
            raise DispatchError(
                f"{self.step.name} was interrupted {interruptions} times, the last time since "
                f"{verdict.why}{f'; its log: {verdict.log}' if verdict.log else ''}"
            )
        log.warning("%s: %s; trying again (%d of %d)", self.step.name, verdict.why, interruptions,
                    INTERRUPTIONS)  # fmt: skip
        self.pause(self.again * 2 ** (interruptions - 1))

    def _failure(self, verdict: Verdict) -> DispatchError:
        """Return *verdict*, which is for good, as an error."""
        if verdict.means is Means.STEP_FAILED:
            return StepFailed(self.step.name, verdict.why, _log_of(verdict))
        if verdict.means is Means.STEP_TIMED_OUT:
            problem = f"{verdict.why} (CBNG_STEP_TIMEOUT)"
            return StepTimedOut(self.step.name, problem, _log_of(verdict))
        return DispatchError(f"{self.step.name}: {self.where}: {verdict.why}")


def _log_of(verdict: Verdict) -> str:
    """Return where the log is, in words."""
    return verdict.log or "none was kept"
