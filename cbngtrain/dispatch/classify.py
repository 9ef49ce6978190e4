"""
A pod's state → what it means for its step, and what to do. Pure.

Kubernetes tells the same thing in several places, which differ from version to version. The order
in which they are looked at is the point here: what happened to the pod as a whole explains what its
container says, except that a container that ran out of memory says so itself.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from cbngtrain.dispatch.script import (
    CHECK_FAILED,
    COMMAND_FAILED,
    INPUT_DIFFERS,
    INPUT_NOT_FETCHED,
    KILLED,
    TIMED_OUT,
    UPLOAD_FAILED,
)

IMAGE_GRACE = 120  # seconds for which pulling an image may fail: registries limit rates


class Means(Enum):
    """What a pod's state means."""

    WAITING = auto()  # it runs, or it will
    ENDED = auto()  # its script came to its end: the store knows
    STEP_FAILED = auto()  # for good
    STEP_TIMED_OUT = auto()  # for good
    OUT_OF_MEMORY = auto()  # once more, with more
    INTERRUPTED = auto()  # by the infrastructure: again
    IMPOSSIBLE = auto()  # it will never start as it is
    UNSCHEDULABLE = auto()  # no node has had room for it for too long


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What a pod's state means, for a person too.

    Attributes:
        means: What to do.
        why: What happened, where something did; while it waits, what for.
        code: The script's own exit code, where it ended with one.
        log: The digest of the command's log in the store, where the script told it.
    """

    means: Means
    why: str = ""
    code: int | None = None
    log: str | None = None


def classify(pod: Mapping[str, Any], waited: float, schedule_timeout: float) -> Verdict:
    """
    Return what the state of *pod* means.

    Args:
        pod: As the API gives it.
        waited: Seconds for which it has been waiting for what it is waiting for.
        schedule_timeout: Seconds for which it may wait for a node.
    """
    status = pod.get("status") or {}
    container = _container(status)
    terminated = (container.get("state") or {}).get("terminated")
    if terminated and terminated.get("reason") == "OOMKilled":
        return Verdict(Means.OUT_OF_MEMORY, "ran out of memory", terminated.get("exitCode"))
    if verdict := _of_whole_pod(pod, status):
        return verdict
    if terminated:
        return _of_end(terminated)
    if status.get("phase") in {"Failed", "Succeeded"}:
        return Verdict(Means.INTERRUPTED, f"ended without a word: {_told(status) or 'no reason'}")
    waiting = (container.get("state") or {}).get("waiting")
    if waiting and (verdict := _of_waiting(waiting, waited)):
        return verdict
    return _of_scheduling(status, waited, schedule_timeout)


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Return whether nothing in *pod* will run any more."""
    status = pod.get("status") or {}
    state = _container(status).get("state") or {}
    return status.get("phase") in {"Failed", "Succeeded"} or bool(state.get("terminated"))


def has_begun(pod: Mapping[str, Any]) -> bool:
    """Return whether *pod* has a log."""
    state = _container(pod.get("status") or {}).get("state") or {}
    return "running" in state or "terminated" in state


def is_going(pod: Mapping[str, Any]) -> bool:
    """Return whether somebody is deleting *pod*."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def waits_for(pod: Mapping[str, Any]) -> str:
    """Return what *pod* is waiting for: one word, which stays while it waits for one thing."""
    status = pod.get("status") or {}
    state = _container(status).get("state") or {}
    if "running" in state or "terminated" in state:
        return "its end"
    reason = str((state.get("waiting") or {}).get("reason", ""))
    if reason in _PULLING:
        return "its image"
    if _unschedulable(status) is not None:
        return "a node"
    return reason or "its start"


# Words that are Kubernetes' own: the kubelet's, the scheduler's, the controllers'.
_PULLING = frozenset({"ErrImagePull", "ImagePullBackOff"})
_NEVER_STARTS = frozenset(
    {
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "StartError",
        "ContainerCannotRun",
    }
)
_NO_SUCH_IMAGE = re.compile(
    r"not[ _]?found|does not exist|manifest unknown|name unknown|denied|unauthorized|forbidden",
    re.IGNORECASE,
)
_NOT_ITS_FAULT = re.compile(
    r"Evicted|Preempt(ed|ing)|NodeLost|NodeAffinity|NodeShutdown|Shutdown|Terminated|"
    r"UnexpectedAdmissionError|OutOf\w+"
)
_ENDS = {  # exit code of the script → what it means, and what is said besides what it says
    0: (Means.ENDED, ""),
    COMMAND_FAILED: (Means.STEP_FAILED, ""),
    CHECK_FAILED: (Means.STEP_FAILED, ""),
    TIMED_OUT: (Means.STEP_TIMED_OUT, ""),
    KILLED: (Means.OUT_OF_MEMORY, "was killed (137), as what runs out of memory is"),
    INPUT_NOT_FETCHED: (Means.INTERRUPTED, "an input could not be fetched"),
    INPUT_DIFFERS: (Means.INTERRUPTED, "an input has other bytes than it should have"),
    UPLOAD_FAILED: (Means.INTERRUPTED, "what it made could not be stored"),
    130: (Means.INTERRUPTED, "it was interrupted"),
    143: (Means.INTERRUPTED, "it was asked to stop"),
}


def _container(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state of the pod's one container, as far as it is known."""
    found = status.get("containerStatuses") or [{}]
    first: Mapping[str, Any] = found[0]
    return first


def _told(told: Mapping[str, Any]) -> str:
    """Return reason and message of a part of a status, as one line."""
    parts = (str(told.get("reason") or ""), str(told.get("message") or ""))
    return " ".join(": ".join(filter(None, parts)).split())[:500]


def _of_whole_pod(pod: Mapping[str, Any], status: Mapping[str, Any]) -> Verdict | None:
    """Return what happened to the pod as a whole, if anything did."""
    reason = str(status.get("reason") or "")
    if reason == "DeadlineExceeded":
        return Verdict(Means.STEP_TIMED_OUT, "the whole pod had run out of time")
    if _NOT_ITS_FAULT.fullmatch(reason):
        return Verdict(Means.INTERRUPTED, _told(status))
    for condition in status.get("conditions") or []:
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return Verdict(Means.INTERRUPTED, f"disrupted: {_told(condition)}")
    state = _container(status).get("state") or {}
    code = (state.get("terminated") or {}).get("exitCode")
    if is_going(pod) and code not in {0, COMMAND_FAILED, CHECK_FAILED, TIMED_OUT}:
        # It may run on for its grace; what it says after that is how it was stopped.
        why = "somebody is deleting its pod"
        return Verdict(Means.INTERRUPTED if has_ended(pod) else Means.WAITING, why, code)
    return None


def _of_end(terminated: Mapping[str, Any]) -> Verdict:
    """Return what it means that the container ended so."""
    code = int(terminated.get("exitCode") or 0)
    told = _message(terminated)
    problem, log = str(told.get("problem") or ""), told.get("log")
    log = log if isinstance(log, str) else None
    if code in _ENDS:
        means, why = _ENDS[code]
        return Verdict(means, ": ".join(filter(None, (why, problem))), code, log)
    if terminated.get("reason") in _NEVER_STARTS:  # bash is not in the image, perhaps
        return Verdict(Means.IMPOSSIBLE, f"its container cannot start: {_told(terminated)}")
    if terminated.get("reason") == "ContainerStatusUnknown":  # the node forgot it
        return Verdict(Means.INTERRUPTED, _told(terminated))
    why = ": ".join(filter(None, (f"exit code {code} of its script", problem)))
    return Verdict(Means.STEP_FAILED, why, code, log)


def _message(terminated: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the script wrote at its end, or nothing."""
    try:
        value = json.loads(terminated.get("message") or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _of_waiting(waiting: Mapping[str, Any], waited: float) -> Verdict | None:
    """Return what it means that the container waits so, unless that is as it should be."""
    reason, told = str(waiting.get("reason") or ""), _told(waiting)
    if reason in _NEVER_STARTS:
        is_lacking = re.search(r'secret "?[a-z0-9.-]+"? not found|find key', told)
        advice = "; `toolforge envvars create FILE_API_KEY` makes it" if is_lacking else ""
        return Verdict(Means.IMPOSSIBLE, f"its container cannot start: {told}{advice}")
    if reason not in _PULLING:
        return None
    message = str(waiting.get("message") or "")
    if _NO_SUCH_IMAGE.search(message):
        why = f"its image cannot be had: {told}; is CBNG_CORE_IMAGE right, and public?"
        return Verdict(Means.IMPOSSIBLE, why)
    if waited >= IMAGE_GRACE:
        why = f"its image cannot be had, for {waited:.0f} s now: {told}; is its registry away?"
        return Verdict(Means.IMPOSSIBLE, why)
    return Verdict(Means.WAITING, f"its image cannot be had yet: {told}")


def _unschedulable(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the scheduler's complaint, if it has one."""
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            found: Mapping[str, Any] = condition
            return found
    return None


def _of_scheduling(status: Mapping[str, Any], waited: float, schedule_timeout: float) -> Verdict:
    """Return what it means that the pod has no node, or that all is well."""
    complaint = _unschedulable(status)
    if complaint is None:
        return Verdict(Means.WAITING)
    if waited < schedule_timeout:
        return Verdict(Means.WAITING, f"no node has room for it: {_told(complaint)}")
    why = f"no node had room for it for {waited:.0f} s (CBNG_SCHEDULE_TIMEOUT): {_told(complaint)}"
    return Verdict(Means.UNSCHEDULABLE, f"{why}; CBNG_MEMORY_SCALE and CBNG_CPU_SCALE make it less")
