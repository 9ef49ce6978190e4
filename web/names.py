"""
Addresses: what a path below ``/`` means, and which paths mean nothing.

Pure. ``Report Interface Import/2025-08-01 18:36:31/trial/report.txt`` is the edit set (the
*target*), the instance and a path in it; without an instance it is a folder of edit sets.
"""

from dataclasses import dataclass
from urllib.parse import quote

from cbngtrain.errors import FormatError
from cbngtrain.step import INSTANCE, problem_with_part, problem_with_target

ALIASES = frozenset({"latest", "production"})
"""What may stand for an instance's name."""

_DEEPEST = 20  # parts of a path in an instance


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
    at = next((i for i, part in enumerate(parts) if _is_instance(part)), len(parts))
    target, below = "/".join(parts[:at]), parts[at + 1 :]
    problem = (problem_with_target(target) if parts else None) or _problem(below)
    if problem:
        raise FormatError(path[:80], "", problem)
    return Address(target, "".join(parts[at : at + 1]), "/".join(below))


def _is_instance(part: str) -> bool:
    return part in ALIASES or INSTANCE.fullmatch(part) is not None


def problem_with_file(path: str) -> str | None:
    """Return why *path* cannot be a file's path in an instance, or None where it can."""
    if path == "instance.json" or path.startswith("instance.json/"):
        return "instance.json is written by publishing alone"
    return _problem(path.split("/"))


def _problem(parts: list[str]) -> str | None:
    """Return why *parts* cannot be a path in an instance."""
    if len(parts) > _DEEPEST:
        return f"it has more than {_DEEPEST} parts"
    return next(filter(None, map(problem_with_part, parts)), None)
