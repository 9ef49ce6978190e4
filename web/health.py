"""``/_/health``: whether the store can be written and read, for probes."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

import falcon


class Health:
    """Writes a file, reads it and removes it."""

    def __init__(self, root: Path) -> None:
        """*root* is the store's directory."""
        self._root = root

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200, or 503 with the reason."""
        resp.set_header("Cache-Control", "no-store")
        if problem := self._problem():
            raise falcon.HTTPServiceUnavailable(
                title="Not well", description=problem, headers={"Cache-Control": "no-store"}
            )
        resp.media = {"status": "well"}

    on_head = on_get

    def _problem(self) -> str | None:
        """Return what is wrong with the store's directory."""
        probe = self._root / f".{secrets.token_hex(8)}.health"
        text = secrets.token_bytes(16)
        try:
            with probe.open("xb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if probe.read_bytes() != text:
                return "a file that was written reads otherwise"
        except OSError as error:
            return f"the store's directory: {error.strerror}"
        finally:
            with suppress(OSError):
                probe.unlink()
        return None
