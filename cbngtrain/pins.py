"""
Pins: instances that somebody wants to stay, and why.

    tree/{target}/.pins/{instance}.json     {"why": …, "who": …, "when": …}
"""

import getpass
import socket
import time
from pathlib import Path

from cbngtrain.disk import read_json, replace_file, told
from cbngtrain.errors import PlanError
from cbngtrain.instances import Instances
from cbngtrain.step import canonical_json

FOLDER = ".pins"


def pin(instances: Instances, target: str, name: str, about: dict[str, str]) -> None:
    """
    Let an instance stay; *about* says why and who wants it.

    Raises:
        PlanError: There is no such instance.
    """
    path = _path(instances.folder(target), name)
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    with told(f"{target}/{name} cannot be pinned"):
        replace_file(path, canonical_json({**about, "when": when}))
    if not (instances.folder(target) / name).is_dir():  # pruning looks for pins after it has moved
        path.unlink(missing_ok=True)
        raise PlanError(f"there is no instance {target}/{name}")


def unpin(instances: Instances, target: str, name: str) -> None:
    """Let an instance go when no rule keeps it. Raises PlanError where it is not pinned."""
    try:
        with told(f"{target}/{name} cannot be unpinned"):
            _path(instances.folder(target), name).unlink()
    except FileNotFoundError as error:
        raise PlanError(f"{target}/{name} is not pinned") from error


def pinned(folder: Path, name: str) -> str | None:
    """Return why the instance *name* in an edit set's *folder* is pinned, or None."""
    about = read_json(_path(folder, name))
    if not isinstance(about, dict):
        return None
    return ", ".join(str(about[key]) for key in ("why", "who", "when") if about.get(key))


def who() -> str:
    """Return who runs this, as it is kept with what people decide."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"


def _path(folder: Path, name: str) -> Path:
    return folder / FOLDER / f"{name}.json"
