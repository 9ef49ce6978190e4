"""
What goes wrong, and the exit status that tells it.

    TrainerError           every error that we raise on purpose
    + SettingsError     12 the environment is incomplete or wrong; nothing has started
    + ReviewError       14 the review service refused, failed or answered nonsense
    + PlanError          3 the edit groups cannot be made into a plan
    + StoreError        13 the store refused or failed
      - BlobNotFound       no blob has this digest
      - DigestMismatch     bytes do not have the digest they are stored under
      - InstanceConflict   the instance's name is taken by something else
    + DispatchError     14 a step could not be started or watched
      - PodExists          the cluster has a pod of this name
      - JobExists          the tool has a job of this name
      - QuotaExceeded      the quota has no room for another pod or job now
      - WatchExpired       what has happened since is not known any more: list again
      - StepFailed      10 the step ran and failed (step, exit code, log)
      - StepTimedOut    10 the step ran out of time and was stopped
    + FormatError       11 a file is not what its name says (path and place given)
    + OverlapError      11 edits are both in the training and in the trial set
    + HeldError         15 the gate holds a network that was to be promoted
    + ToolforgeError    14 Toolforge refused, failed or answered nonsense (status given)
"""

import difflib
import logging
import traceback
from collections.abc import Collection
from typing import ClassVar

log = logging.getLogger(__name__)

_TOLD = 20  # names at most


class TrainerError(Exception):
    """One sentence for its reader: what failed, on what, what to do."""

    status: ClassVar[int] = 14


class SettingsError(TrainerError):
    """The environment is incomplete or wrong; nothing has started."""

    status = 12


class ReviewError(TrainerError):
    """The review service refused, failed or answered nonsense."""

    status = 14


class PlanError(TrainerError):
    """The edit groups cannot be made into a plan."""

    status = 3


class StoreError(TrainerError):
    """The store refused or failed."""

    status = 13


class BlobNotFound(StoreError):
    """No blob has this digest."""

    def __init__(self, digest: str, message: str = "") -> None:
        """*message* replaces the plain sentence."""
        self.digest = digest
        super().__init__(message or f"blob {digest} is not in the store")


class DigestMismatch(BlobNotFound):
    """
    Bytes do not have the digest they are stored under.

    Whoever raises it has taken them out of the store, so from then on the blob is not found.
    """


class InstanceConflict(StoreError):
    """The instance's name is taken by something else."""


class DispatchError(TrainerError):
    """A step could not be started or watched."""

    status = 14


class PodExists(DispatchError):
    """The cluster has a pod of this name."""


class JobExists(DispatchError):
    """The tool has a job of this name."""


class QuotaExceeded(DispatchError):
    """The quota has no room for another pod or job now."""


class WatchExpired(DispatchError):
    """What has happened since is not known any more: list again."""


class StepFailed(DispatchError):
    """The step ran and failed, or left something that is not what it should be."""

    status = 10

    def __init__(self, step: str, problem: str, log: str) -> None:
        """
        Args:
            step: The step's name.
            problem: What happened, such as ``exit code 2: …``.
            log: Where its log is, for a person.
        """
        self.step = step
        self.problem = problem
        self.log = log
        super().__init__(f"{step} failed with {problem}; its log: {log}")


class StepTimedOut(StepFailed):
    """The step ran out of time and was stopped."""


class FormatError(TrainerError):
    """A file is not what its name says."""

    status = 11

    def __init__(self, path: object, where: str, problem: str) -> None:
        """
        Args:
            path: The file or URL.
            where: ``line 12``, ``EditID 4711``, or empty where neither is known.
            problem: What is wrong with it.
        """
        super().__init__(f"{path}: {where}: {problem}" if where else f"{path}: {problem}")


class OverlapError(TrainerError):
    """Edits are both in the training and in the trial set."""

    status = 11


class ToolforgeError(TrainerError):
    """Toolforge refused, failed or answered nonsense; or what was deployed is not well."""

    status = 14

    def __init__(self, message: str, code: int | None = None) -> None:
        """*code* is the HTTP status of the answer, or None if there was none."""
        self.code = code
        super().__init__(message)


class HeldError(TrainerError):
    """The gate holds a network that was to be promoted."""

    status = 15


def told(error: TrainerError) -> str:
    """Return the error as the one line that a person reads."""
    log.debug("%s", "".join(traceback.format_exception(error)))
    return f"{type(error).__name__}: {error}".replace("\n", " ")


def instead(name: str, known: Collection[str]) -> str:
    """Return what to say instead of *name*: the one of *known* that is nearly it, else them all."""
    by_lower = {each.lower(): each for each in known}
    if near := difflib.get_close_matches(name.lower(), by_lower, n=1):
        return f"is {by_lower[near[0]]!r} meant?"
    told = [*list(known)[:_TOLD], *([f"{len(known) - _TOLD} more"] if len(known) > _TOLD else [])]
    return f"known are: {', '.join(told) or 'none'}"


def reason(error: BaseException) -> str:
    """Return what the operating system said, if it did, else what a library's *error* says."""
    inner = error
    while inner.__context__ is not None:
        inner = inner.__context__
    return (inner.strerror if isinstance(inner, OSError) else None) or str(error)
