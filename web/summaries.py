"""
Summaries of builds, ``builds/{id}.json``, which clients leave: how each edit set fared.

    {"began": "2025-08-01 18:36:31", "edit_sets": {"Legacy Import": {"failed": [
        {"step": "ann:legacy-import", "problem": "exit code 3: …", "log": "9f2c…"}]}}}

An id begins with the time of its build, so names sort as times do.
"""

from pathlib import Path
from typing import Any

from cbngtrain.store import read_json

_LOOKED_AT = 50  # newest summaries


def last_builds(folder: Path) -> dict[str, dict[str, Any]]:
    """Return for each edit set its last ``build`` and the steps that ``failed`` in it."""
    found: dict[str, dict[str, Any]] = {}
    names = sorted((path.name for path in folder.glob("[!.]*.json")), reverse=True)
    for name in names[:_LOOKED_AT]:
        summary = read_json(folder / name)
        edit_sets = summary.get("edit_sets") if isinstance(summary, dict) else None
        for target, told in edit_sets.items() if isinstance(edit_sets, dict) else ():
            failed = told.get("failed", []) if isinstance(told, dict) else []
            steps = [_failure(each) for each in failed if isinstance(each, dict)]
            found.setdefault(target, {"build": name.removesuffix(".json"), "failed": steps})
    return found


def _failure(told: dict[str, Any]) -> dict[str, str]:
    """Return a step that failed: its name, the problem, its log's digest or nothing."""
    return {key: str(told.get(key) or "")[:500] for key in ("step", "problem", "log")}
