"""
gunicorn's configuration, as ``cbng-trainer run-file-api`` uses it: threads, limits, and its log.

    gunicorn -c python:web.serving --bind 127.0.0.1:8000 'web.app:get_app()'

Threads serve slow readers; a connection that says nothing holds none of them. One that sends half
a request does, so the service belongs behind a proxy that buffers.
"""

import gc
import os
import select
import shutil
import time
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from gunicorn.glogging import Logger
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers import gthread
from prometheus_client.multiprocess import mark_process_dead

from web.metrics import count

worker_class = "web.serving.Worker"
workers = len(os.sched_getaffinity(0))
threads = 32
worker_connections = 4096  # for each worker; a silent one costs a descriptor
backlog = 2048
keepalive = 75  # seconds: longer than proxies hold a connection open
timeout = 60  # seconds without a sign of life after which a worker is replaced
graceful_timeout = 12  # seconds that running transfers have when the service is stopped
# sendfile: used unless it is set, to whatever (gunicorn's own words: --no-sendfile)
limit_request_line = 8190  # bytes: twenty parts of 200 bytes, percent-encoded, do not fit; few do
limit_request_fields = 64
limit_request_field_size = 8190  # bytes
logger_class = "web.serving.AccessLogger"
accesslog = "-"
errorlog = "-"
control_socket_disable = True  # nobody talks to it, and two services of one user would share it


def post_worker_init(_worker: Any) -> None:
    """Leave what lives for ever out of every search for garbage, and search seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


def child_exit(_server: Any, worker: Any) -> None:
    """Count no more what a worker that ended had open; what it has done stays counted."""
    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call] # it has no types


def on_exit(_server: Any) -> None:
    """Remove what the workers have counted."""
    if directory := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        shutil.rmtree(directory, ignore_errors=True)


SocketUnreader.max_body_chunk = 128 << 10
"""Bytes of a body received at once; gunicorn's 1 MB go back to the kernel, and come anew."""

_STDOUT = 1
_MOMENT = 2  # milliseconds


class Worker(gthread.ThreadWorker):  # type: ignore[misc] # gunicorn has no types
    """
    gunicorn's threads, with two changes.

    A new connection gets a thread only when it has said something. And a thread that has answered
    waits a moment for the next request on the same connection, if no other waits for a thread:
    giving the connection back to the main thread costs as much as a small answer.
    """

    def handle(self, conn: Any) -> Any:
        """Serve what *conn* asks, or hand it back to be waited for."""
        if not conn.initialized and not conn.wait_for_data(0):
            return gthread._DEFER  # noqa: SLF001 - what gunicorn's own handle returns, after 5 s
        stays = super().handle(conn)
        if stays is not True:
            return stays
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        while stays is True and self._is_idle() and poll.poll(_MOMENT):
            stays = super().handle(conn)
        return stays

    def _is_idle(self) -> bool:
        """Return whether no connection waits for a thread, and the service goes on."""
        return bool(self.alive and self.tpool._work_queue.empty())  # noqa: SLF001 - there is no other way


class AccessLogger(Logger):  # type: ignore[misc] # gunicorn has no types
    """
    One line per request: who, what, the status, bytes, seconds.

    Neither headers nor query are in it, so no token is; the path is percent-encoded, so a line
    stays one line.
    """

    def access(self, resp: Any, _req: Any, environ: Any, request_time: timedelta) -> None:
        """Write the line, and count the request."""
        told = environ.get("PATH_INFO", "?")  # a request that gunicorn refuses has none
        status = str(resp.status)[:3]
        is_sent_by_kernel = resp.sent == 0 and environ.get("REQUEST_METHOD") != "HEAD"
        sent = (resp.response_length or 0) if is_sent_by_kernel else resp.sent
        count(environ, status, sent, request_time)
        path = quote(told, safe="/:?", encoding="latin-1")
        who, method = environ.get("REMOTE_ADDR", "?"), environ.get("REQUEST_METHOD", "?")
        took = request_time.total_seconds()
        line = f"{_now(int(time.time()))} {who} {method} {path} {status} {sent} {took:.4f}\n"
        os.write(_STDOUT, line.encode())  # at once and whole; logging takes ten times as long


@lru_cache(maxsize=1)
def _now(seconds: int) -> str:
    """Return the time in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
