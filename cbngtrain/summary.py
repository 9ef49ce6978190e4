"""
What a build did, for people: outcomes of tasks, folded into a summary.

Pure. A summary is JSON, kept in the store under the build's name (`build_name`):

    began, ended    UTC times, YYYY-mm-dd HH:MM:SS
    seconds         between the two
    status          exit status: 0 done, 128 + a signal's number where it was stopped
    problem         why it could not begin, else empty
    counts          what became of the tasks: word (``built``, ``failed``, …) → number
    pods            number of steps that ran elsewhere than on the coordinator
    pod_seconds     what these took together
    edit_sets       name → how the edit set fared, for every one that was looked at:
        looked_at       number of its tasks
        built           [{step, why, seconds, where}]
        found           names of steps whose records were there already
        failed          [{step, problem, log}]; the log's digest or nothing
        not_built       names of tasks that wait for one that failed
        published       the instance that it was published as, or null
        complete        whether all of it stands, published
"""

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cbngtrain.step import Digest

TIME = "%Y-%m-%d %H:%M:%S"  # UTC

HERE = "local"
"""Where a step ran that cost no pod."""

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_VARIES = re.compile(r"[0-9a-f]{12,}|[0-9]+([.:-][0-9]+)*")
_LONGEST = 500  # characters of a problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """
    How a task of a build ended.

    Attributes:
        task: Its name, such as ``ann:legacy-import``.
        did: ``built``, ``found``, ``published``, ``changed``, ``unchanged``, ``up to date``,
            ``failed`` or ``not built``.
        why: The reason, the problem or the instance.
        seconds: How long the step took.
        where: Where it ran; empty for what is no step.
        log: The digest of a failed step's log.
    """

    task: str
    did: str
    why: str = ""
    seconds: float = 0.0
    where: str = ""
    log: Digest | None = None

    @property
    def slug(self) -> str:
        """Which edit set it is of."""
        return self.task.partition(":")[2].partition("/")[0]

    @property
    def is_source(self) -> bool:
        """Whether it asked a source."""
        return self.task.startswith(("edit_set:", "model:"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """
    When a build was at work, and its end.

    Attributes:
        began: Seconds since the epoch.
        ended: See there.
        status: Exit status.
        problem: Why it could not begin, else empty.
    """

    began: float
    ended: float
    status: int
    problem: str = ""


def build_name(began: str, host: str, process: int) -> str:
    """Return the name of a build that *began* at a UTC time: names sort as these times."""
    where = re.sub(r"[^A-Za-z0-9.-]", "-", host)[:80]
    return f"{began.replace(' ', 'T').replace(':', '.')}-{where}-{process}"


def summary(
    course: Course, outcomes: Sequence[Outcome], names: Mapping[str, str]
) -> dict[str, Any]:
    """
    Return what is kept of a build.

    Args:
        course: When it was at work, and its end.
        outcomes: Of all tasks that were looked at.
        names: Slug → name of the edit set.
    """
    remote = [each for each in outcomes if each.where not in {"", HERE}]
    looked_at = [slug for slug in names if any(each.slug == slug for each in outcomes)]
    return {
        "began": time.strftime(TIME, time.gmtime(course.began)),
        "ended": time.strftime(TIME, time.gmtime(course.ended)),
        "seconds": round(course.ended - course.began, 1),
        "status": course.status,
        "problem": course.problem[:_LONGEST],
        "counts": counts(outcomes),
        "pods": len(remote),
        "pod_seconds": round(sum(each.seconds for each in remote), 1),
        "edit_sets": {
            names[slug]: _edit_set([each for each in outcomes if each.slug == slug])
            for slug in looked_at
        },
    }


def counts(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Return how many tasks ended how; of sources apart: ``source changed``."""
    return dict(Counter(f"{'source ' * each.is_source}{each.did}" for each in outcomes))


def _edit_set(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return how an edit set fared."""
    by = {did: [each for each in outcomes if each.did == did] for did in _WORDS}
    published = [each.why.rsplit("/", 1)[-1] for each in by["published"]]
    failed, not_built = by["failed"], [each.task for each in by["not built"]]
    is_whole = any(each.task.startswith("publish:") for each in outcomes)
    return {
        "looked_at": len(outcomes),
        "built": [
            {"step": each.task, "why": each.why, "seconds": each.seconds, "where": each.where}
            for each in by["built"]
        ],
        "found": [each.task for each in by["found"]],
        "failed": [
            {"step": each.task, "problem": each.why[:_LONGEST], "log": each.log} for each in failed
        ],
        "not_built": not_built,
        "published": published[0] if published else None,
        "complete": is_whole and not failed and not not_built,
    }


_WORDS = ("built", "found", "failed", "not built", "published")


def log_digest(place: str) -> Digest | None:
    """Return the digest at the end of `Store.place`'s answer, by which a log is found."""
    found = _DIGEST.search(place)
    return Digest(found[0]) if found else None


def failures(told: Any) -> list[dict[str, str]]:
    """
    Return the failed steps of an edit set, of a summary that anybody may have written.

    Each has ``step``, ``problem`` and ``log``, the last perhaps empty.
    """
    failed = told.get("failed") if isinstance(told, Mapping) else None
    return [
        {key: str(each.get(key) or "")[:_LONGEST] for key in ("step", "problem", "log")}
        for each in (failed if isinstance(failed, list) else [])
        if isinstance(each, Mapping)
    ]


def is_telling(told: Any) -> bool:
    """Return whether an edit set's part of a summary says if the edit set failed."""
    return isinstance(told, Mapping) and bool(failures(told) or told.get("complete", True))


def times_in_a_row(history: Sequence[Sequence[Mapping[str, str]]]) -> int:
    """
    Return how many builds, from the last one back, failed for the same reason.

    *history* has the failed steps of each build, the last build first. The same reason: the same
    steps with the same problems, whatever numbers and digests they name.
    """
    reasons = [{_reason(failure) for failure in failed} for failed in history]
    if not reasons or not reasons[0]:
        return 0
    return next((i for i, each in enumerate(reasons) if each != reasons[0]), len(reasons))


def _reason(failure: Mapping[str, str]) -> tuple[str, str]:
    """Return what two failures for the same reason have in common."""
    return failure["step"], _VARIES.sub("#", failure["problem"])
