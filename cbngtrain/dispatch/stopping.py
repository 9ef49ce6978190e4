"""The end of waiting for what runs elsewhere: pods and jobs go on, for the next build to find."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from cbngtrain.dispatch.deadline import Deadline
from cbngtrain.errors import DispatchError, TrainerError
from cbngtrain.step import Step

log = logging.getLogger(__name__)

FAREWELL = 5.0  # seconds after a first Ctrl-C within which a second deletes what this run waits for


class Stopping:
    """Whether steps are waited for; and what this run waits for."""

    def __init__(self, what: str, deadline: Deadline, look: float) -> None:
        """
        Args:
            what: What steps run as: ``pod``, ``job``.
            deadline: The end of the build.
            look: Seconds within which a waiting step notices that the build is stopping.
        """
        self._what = what
        self._deadline = deadline
        self._look = look
        self._has_begun = False
        self._interrupts = 0
        self._attended: dict[str, Callable[[], None]] = {}

    # For a signal handler: it takes no lock and waits for nothing

    def begin(self) -> None:
        """Start nothing more and wait for nothing."""
        self._has_begun = True

    def interrupt(self) -> None:
        """Count a Ctrl-C."""
        self._interrupts += 1

    # For steps

    @property
    def has_begun(self) -> bool:
        """Whether nobody is to wait any more."""
        return self._has_begun

    @property
    def attended(self) -> list[str]:
        """The names of what this run waits for, or waited for when the stopping began."""
        return sorted(self._attended)

    @contextmanager
    def attending(self, name: str, delete: Callable[[], None]) -> Iterator[None]:
        """Count what is waited for while the block runs; *delete* deletes it."""
        self._attended[name] = delete
        try:
            yield
        finally:
            if not self._has_begun:  # else it goes on, and `leave` tells of it
                del self._attended[name]

    def go_on(self, step: Step) -> None:
        """Raise DispatchError if nobody is to wait for *step* any more."""
        if self._has_begun:
            raise DispatchError(f"{step.name} is not waited for: the build is stopping")
        if self._deadline.left <= 0:
            raise DispatchError(
                f"{step.name} is left to the next build, which finds its {self._what}: "
                "CBNG_DEADLINE is over"
            )

    def pause(self, seconds: float) -> None:
        """Wait. Raises DispatchError where the build is stopping."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._has_begun:
                raise DispatchError("the build is stopping")
            time.sleep(min(left, self._look))

    # For the very end

    def leave(self) -> None:
        """
        Say what goes on, and delete it on a second Ctrl-C.

        After a first one it waits for a second for a few seconds, if there is anything to delete.
        """
        names = ", ".join(self.attended)
        if not self._has_begun or not names:
            return
        if self._interrupts == 1:
            _say(f"These {self._what}s go on, and the next build finds them: {names}\n"
                 f"Ctrl-C again within {FAREWELL:.0f} s deletes them.")  # fmt: skip
            end = time.monotonic() + FAREWELL
            while self._interrupts == 1 and time.monotonic() < end:
                time.sleep(0.05)
        if self._interrupts > 1:
            self._delete_all()
        elif self._interrupts == 0:
            log.info("these %ss go on: %s", self._what, names)

    def _delete_all(self) -> None:
        """Delete what this run waited for, saying so."""
        for name, delete in sorted(self._attended.items()):
            try:
                delete()
            except TrainerError as error:
                _say(f"{self._what} {name} is not deleted: {error}")
            else:
                _say(f"{self._what} {name} is deleted")


def _say(text: str) -> None:
    """Tell the person at the terminal, at the very end."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
