"""
A pod's log, followed while it runs and kept for afterwards.

Each pod's is followed by a thread of its own, so that a slow log holds up nothing. A connection
that breaks is made again; what was seen then is dropped by its time. No token of ours gets out.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from cbngtrain.dispatch.cluster import Cluster
from cbngtrain.errors import DispatchError

log = logging.getLogger(__name__)

OVERLAP = 30  # seconds that a log is asked for besides those since its last line

_PAUSE = 1.0  # seconds between two tries to follow
_SHORTEST_SECRET = 6  # characters; what is shorter stands in logs by chance


class PodLog:
    """The log of one pod, with the lines that were seen so far in a file."""

    def __init__(
        self,
        cluster: Cluster,
        pod: str,
        path: Path,
        tell: Callable[[str], None],
        secrets: tuple[str, ...] = (),
    ) -> None:
        """
        Args:
            cluster: Where the pod is.
            pod: Its name.
            path: The file.
            tell: What is called with each line.
            secrets: What must not be in it.
        """
        self._cluster = cluster
        self._pod = pod
        self._path = path
        self._tell = tell
        self._secrets = [s.encode() for s in secrets if len(s) >= _SHORTEST_SECRET]
        self._last = b""  # the time of the last line
        self._seen: set[bytes] = set()  # the lines of that time
        self._heard = 0.0
        self._has_ended = threading.Event()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"log {pod}", daemon=True)
        path.touch()

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def finish(self, seconds: float) -> Path:
        """
        Return the file with the log, as whole as it can be had, the pod having ended.

        Args:
            seconds: How long to wait for the last lines.
        """
        self._has_ended.set()
        if self._thread.ident is not None:
            self._is_over.wait(seconds)
        whole = self._path.with_suffix(".whole")
        try:
            with whole.open("wb") as file:
                for line in self._cluster.log(self._pod, follow=False):
                    file.write(self._without_secrets(line.partition(b" ")[2]) + b"\n")
        except DispatchError as error:
            log.info("%s; what was followed is kept", error)
            return self._path
        return whole

    def let_end(self, seconds: float) -> None:
        """Wait for the last lines to be told, but no longer than so many seconds."""
        self._has_ended.set()
        self._is_over.wait(seconds)

    def _follow(self) -> None:
        """Follow to the end, through broken connections."""
        try:
            with self._path.open("ab") as file:
                while not self._followed_once(file):
                    self._has_ended.wait(_PAUSE)
        except OSError as error:  # the disk is full, perhaps; the build can do without
            log.warning("the log of pod %s is not followed any more: %s", self._pod, error)
        finally:
            self._is_over.set()

    def _followed_once(self, file: BinaryIO) -> bool:
        """Follow until the connection ends; return whether that was the log's end."""
        had_ended = self._has_ended.is_set()
        try:
            for line in self._new_lines():
                file.write(line + b"\n")
                self._tell(line.decode(errors="replace"))
        except DispatchError as error:
            log.debug("%s; trying again", error)
        file.flush()
        return had_ended

    def _new_lines(self) -> Iterator[bytes]:
        """Yield the lines that were not seen yet, without their times."""
        since = int(time.monotonic() - self._heard) + OVERLAP if self._last else None
        for stamped in self._cluster.log(self._pod, since, follow=True):
            at, _, line = stamped.partition(b" ")
            at = at.rstrip(b"Z")  # a fraction of a second may lack its last zeros: 9.66 < 9.6601
            if at < self._last or (at == self._last and line in self._seen):
                continue
            if at != self._last:
                self._last, self._seen = at, set()
            self._seen.add(line)
            self._heard = time.monotonic()
            yield self._without_secrets(line)

    def _without_secrets(self, line: bytes) -> bytes:
        """Return *line* with a mark in place of each secret."""
        for secret in self._secrets:
            line = line.replace(secret, b"[secret]")
        return line
