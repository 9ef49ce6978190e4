"""An image of our own for the tests' cluster: the engine under the core's command names."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.conftest import ROOT, SHARED

NAME = "tools-harbor.wmcloud.org/tool-cluebotng/engine"

_CLUSTER = SHARED / "cluster"
_CACHE = Path(os.environ.get("CBNG_CLUSTER_DIR", "/var/cache/cbng-cluster"))  # noqa: TID251 - a test's own


def engine_image() -> str:
    """
    Return the name of the image, with its digest, once the cluster has it.

    The Debian in it is made once on a machine, the rest once for each state of the project.
    """
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "engine-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several test processes one makes it
        state = _state()
        known = _CACHE / f"engine-image.{state}"
        if not known.exists():
            known.write_text(_made(), encoding="ascii")
        return f"{NAME}@{known.read_text(encoding='ascii').strip()}"


def _made() -> str:
    """Make the image; return its digest."""
    debian, root = _CACHE / "engine-debian", _CACHE / "engine-root"
    _run(_CLUSTER / "rootfs", debian, "python3,libdb5.3")
    shutil.rmtree(root, ignore_errors=True)
    try:
        _run("cp", "-a", debian, root)
        _run(ROOT / "toolforge" / "image", root)
        return _run(_CLUSTER / "image", f"{NAME}:latest", root).split()[-1]
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _run(*command: object) -> str:
    return subprocess.run(
        [str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def _state() -> str:
    """The digest of all that goes into the image, and of the cluster that has it."""
    sha256 = hashlib.sha256()
    cluster = _CACHE / "containerd"  # `down --purge` takes the images along
    sha256.update(str(cluster.stat().st_ino if cluster.exists() else 0).encode())
    of = [ROOT / "pyproject.toml", ROOT / "toolforge" / "image"]
    of += sorted(path for folder in ("cbngtrain", "web") for path in (ROOT / folder).rglob("*"))
    for path in of:
        if path.is_file() and "__pycache__" not in path.parts:
            sha256.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return sha256.hexdigest()[:20]
