"""
Connections that have just been answered, and the one thread that waits for what they ask next.

Threads of one process take turns at Python's lock, and pass it on at every call of the kernel:
where each waits for a connection of its own, a small answer costs five switches between them. So
one thread, the leader, waits for all these connections and serves one after another. Before it
waits for anybody else, a client that is slow or a disk that syncs, it steps down, and another
leads.
"""

import select
import threading
import time
from collections.abc import Callable
from typing import Any

MOMENT = 0.002  # seconds after which nobody asks at once any more
SPELL = 1.0  # seconds of leading, after which silent connections are looked after elsewhere


class Warm:
    """
    The warm connections of a process.

    Args:
        serve: Answers what a connection asks; returns whether it stays, or what else becomes of it.
        give_back: Takes a connection that is no longer warm, and what `serve` said of it.
        start: Has a function called by another thread.
        is_wanted: Whether nothing else waits for a thread.
    """

    def __init__(
        self,
        serve: Callable[[Any], Any],
        give_back: Callable[[Any, Any], None],
        start: Callable[[Callable[[], None]], object],
        is_wanted: Callable[[], bool],
    ) -> None:
        self._serve = serve
        self._give_back = give_back
        self._start = start
        self._is_wanted = is_wanted
        self._lock = threading.Lock()
        self._poll = select.epoll()
        self._connections: dict[int, Any] = {}  # by descriptor; not the one that is being served
        self._leader = 0  # the number of a thread

    def keep(self, connection: Any) -> None:
        """Keep *connection* warm; returns when this thread does not lead, or not any more."""
        while connection is not None:
            with self._lock:
                self._add(connection)
                if self._leader:
                    return
                self._leader = threading.get_ident()
            connection = self._lead()

    def step_down(self) -> None:
        """Let another thread lead, if this one does: it is about to wait."""
        if self._leader != threading.get_ident():
            return
        with self._lock:
            self._leader = 0
            is_alone = not self._connections
        if not is_alone:
            self._start(self._take_over)

    def _take_over(self) -> None:
        """Lead, unless somebody does by now."""
        with self._lock:
            if self._leader or not self._connections:
                return
            self._leader = threading.get_ident()
        self.keep(self._lead())

    def _lead(self) -> Any:
        """
        Serve whoever asks, until nobody does.

        Returns:
            The connection that was served when this thread stepped down, if it stays; else None.
        """
        until = time.monotonic() + SPELL
        while (asking := self._poll.poll(MOMENT)) and self._is_wanted():
            for descriptor, _ in asking:
                connection = self._taken(descriptor)
                try:
                    stays = self._serve(connection)
                except BaseException:
                    self.step_down()
                    raise
                if stays is not True:
                    self._give_back(connection, stays)
                if self._leader != threading.get_ident():
                    return connection if stays is True else None
                if stays is True:
                    with self._lock:
                        self._add(connection)
            if time.monotonic() > until:
                break
        with self._lock:
            self._leader = 0
            silent = [self._taken(descriptor) for descriptor in [*self._connections]]
        for connection in silent:
            self._give_back(connection, True)
        return None

    def _add(self, connection: Any) -> None:
        self._connections[connection.sock.fileno()] = connection
        self._poll.register(connection.sock, select.EPOLLIN)

    def _taken(self, descriptor: int) -> Any:
        """Take a connection out; only the leader does."""
        self._poll.unregister(descriptor)
        return self._connections.pop(descriptor)
