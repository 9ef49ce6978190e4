"""
Addresses: what a path below ``/`` means, and which paths mean nothing.

Pure. ``Report Interface Import/2025-08-01 18:36:31/trial/report.txt`` is the edit set (the
*target*), the instance and a path in it; without an instance it is a folder of edit sets.
"""

from dataclasses import dataclass
from urllib.parse import quote

from cbngtrain.errors import FormatError
from cbngtrain.step import INSTANCE, problem_with_target

ALIASES = frozenset({"latest", "production"})
"""What may stand for an instance's name."""

_LONGEST = 200  # bytes of a part of a name, as for targets
_DEEPEST = 20  # parts of a path


@dataclass(frozen=True, slots=True)
class Address:
    """
    What a path names.

    Attributes:
        target: The edit set's name, or a folder of edit sets; empty for the root.
        instance: An instance's name or alias; empty for a folder.
        path: What is named in the instance; empty for the instance itself.
    """

    target: str
    instance: str = ""
    path: str = ""

    @property
    def url(self) -> str:
        """The address as the path of a URL."""
        return quoted(*filter(None, (self.target, self.instance, self.path)))


def quoted(*parts: str) -> str:
    """Return *parts* as the path of a URL; a slash in them stays one."""
    return "/" + "/".join(quote(part, safe="/:") for part in parts)


def address(path: str) -> Address:
    """
    Return what *path*, without a slash at its start or end, names.

    Raises:
        FormatError: It cannot name anything in a store.
    """
    parts = path.split("/") if path else []
    if len(parts) > _DEEPEST:
        raise FormatError(path[:80], "", f"has more than {_DEEPEST} parts")
    at = next((i for i, part in enumerate(parts) if _is_instance(part)), len(parts))
    found = Address("/".join(parts[:at]), "".join(parts[at : at + 1]), "/".join(parts[at + 1 :]))
    problem = _problem(parts) or (problem_with_target(found.target) if parts else None)
    if problem:
        raise FormatError(path[:80], "", problem)
    return found


def _is_instance(part: str) -> bool:
    return part in ALIASES or INSTANCE.fullmatch(part) is not None


def _problem(parts: list[str]) -> str | None:
    """Return why one of *parts* cannot be a file's name here."""
    for part in parts:
        if not part or part.startswith(".") or not part.isprintable():
            return f"its part {part[:80]!r} is empty, begins with a dot or holds control characters"
        if len(part.encode()) > _LONGEST:
            return f"its part {part[:20]!r}… is longer than {_LONGEST} bytes"
    return None


def problem_with_file(path: str) -> str | None:
    """Return why *path* cannot be a file's path in an instance, or None where it can."""
    if path == "instance.json" or path.startswith("instance.json/"):
        return "instance.json is written by publishing alone"
    if path.count("/") >= _DEEPEST:
        return f"it has more than {_DEEPEST} parts"
    return _problem(path.split("/"))
