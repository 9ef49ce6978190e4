"""
Summaries of builds, ``builds/{id}.json``, which clients leave: how builds and edit sets fared.

What is in one is told in ``cbngtrain/summary.py``; anybody with a token may have written it, so
nothing in it is relied on. An id begins with the time of its build, so names sort as times do.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cbngtrain.disk import read_json
from cbngtrain.summary import failures, is_telling, times_in_a_row

_LOOKED_AT = 50  # newest summaries
_TEXT = 500  # characters
_AHEAD = 3600  # seconds by which another machine's clock may be before ours


def summaries(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """
    Return the newest builds, newest first: id and summary.

    Those of a time to come, when a clock was wrong once, are the oldest of all: else nothing newer
    would be seen until then.
    """
    soon = time.strftime("%Y-%m-%dT%H.%M.%S", time.gmtime(time.time() + _AHEAD))
    listed = [path.name for path in folder.glob("[!.]*.json")]
    names = sorted(listed, key=lambda name: (name < soon, name), reverse=True)
    read = ((name.removesuffix(".json"), read_json(folder / name)) for name in names[:_LOOKED_AT])
    return [(build, told) for build, told in read if isinstance(told, dict)]


def last_build(found: list[tuple[str, dict[str, Any]]]) -> dict[str, Any] | None:
    """Return how the last build went: its id, times, exit status, counts, cost."""
    if not found:
        return None
    build, told = found[0]
    counts = told.get("counts")
    return {
        "build": build,
        **{key: str(told.get(key) or "")[:_TEXT] for key in ("began", "problem")},
        **{key: _number(told.get(key)) for key in ("seconds", "status", "pods", "pod_seconds")},
        "counts": {
            str(did)[:_TEXT]: number
            for did, number in (counts.items() if isinstance(counts, Mapping) else ())
            if isinstance(number, int)
        },
    }


def _number(value: Any) -> float | None:
    """Return *value* if it is a number."""
    return value if isinstance(value, int | float) else None


def last_builds(found: list[tuple[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """
    Return for each edit set the last ``build`` that tells how it fared.

    Besides, the steps that ``failed`` in it, and how many times ``in_a_row`` they did so for the
    same reason.
    """
    history: dict[str, list[tuple[str, list[dict[str, str]]]]] = {}
    for build, told in found:
        edit_sets = told.get("edit_sets")
        for target, fared in edit_sets.items() if isinstance(edit_sets, Mapping) else ():
            if not isinstance(fared, Mapping) or is_telling(fared):
                history.setdefault(target, []).append((build, failures(fared)))
    return {
        target: {
            "build": builds[0][0],
            "failed": builds[0][1],
            "in_a_row": times_in_a_row([failed for _, failed in builds]),
        }
        for target, builds in history.items()
    }
