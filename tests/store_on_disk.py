"""A store on disk: what has to be true of it at any moment, and how it rots."""

import hashlib
import json
from pathlib import Path


def check_store(root: Path) -> None:
    """No blob has other bytes than its name says; every instance that is seen is whole."""
    for path in root.glob("cas/*/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    for latest in root.glob("tree/*/latest"):
        assert latest.exists(), latest
    for path in root.glob("tree/*/[0-9]*/instance.json"):
        for name, digest in json.loads(path.read_bytes())["files"].items():
            assert (path.parent / name).resolve().name == digest
            assert (path.parent / name).exists(), (path, name)


def spoil(path: Path, content: bytes):
    """Let the bytes of a blob rot."""
    path.chmod(0o644)
    path.write_bytes(content)
