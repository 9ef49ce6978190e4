"""
gunicorn's configuration, as ``cbng-trainer run-file-api`` uses it: threads, limits, and its log.

    gunicorn -c python:web.serving --bind 127.0.0.1:8000 'web.app:get_app()'

Threads serve slow readers; a connection that says nothing holds none of them. One that sends half
a request does, so the service belongs behind a proxy that buffers.
"""

import os
import shutil
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from gunicorn.glogging import Logger
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
sendfile = True
limit_request_line = 8190  # bytes: twenty parts of 200 bytes, percent-encoded, do not fit; few do
limit_request_fields = 64
limit_request_field_size = 8190  # bytes
logger_class = "web.serving.AccessLogger"
accesslog = "-"
errorlog = "-"
control_socket_disable = True  # nobody talks to it, and two services of one user would share it


def child_exit(_server: Any, worker: Any) -> None:
    """Count no more what a worker that ended had open; what it has done stays counted."""
    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call] # it has no types


def on_exit(_server: Any) -> None:
    """Remove what the workers have counted."""
    if directory := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        shutil.rmtree(directory, ignore_errors=True)


class Worker(gthread.ThreadWorker):  # type: ignore[misc] # gunicorn has no types
    """gunicorn's threads, but a new connection gets one only when it has said something."""

    def handle(self, conn: Any) -> Any:
        """Serve what *conn* asks, or hand it back to be waited for."""
        if not conn.initialized and not conn.wait_for_data(0):
            return gthread._DEFER  # noqa: SLF001 - what gunicorn's own handle returns, after 5 s
        return super().handle(conn)


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
        self.access_log.info(
            "%s %s %s %s %s %.4f",
            environ.get("REMOTE_ADDR", "?"),
            environ.get("REQUEST_METHOD", "?"),
            quote(told, safe="/:?", encoding="latin-1"),
            status,
            sent,
            request_time.total_seconds(),
        )
