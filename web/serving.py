"""
gunicorn's configuration, as ``cbng-trainer run-file-api`` uses it: threads, limits, and its log.

    gunicorn -c python:web.serving --bind 127.0.0.1:8000 'web.app:get_app()'

Threads serve slow readers; a connection that says nothing holds none of them. One that sends half
a request does, so the service belongs behind a proxy that buffers.
"""

import gc
import mmap
import os
import select
import shutil
import socket
import time
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from gunicorn.glogging import Logger
from gunicorn.workers import gthread
from prometheus_client.multiprocess import mark_process_dead

from web import wire
from web.metrics import count

wire.install()

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
forwarded_allow_ips = ""  # of nobody is a header taken for the path, nor for the scheme
logger_class = "web.serving.AccessLogger"
accesslog = "-"
errorlog = "-"
control_socket_disable = True  # nobody talks to it, and two services of one user would share it


def post_worker_init(worker: Any) -> None:
    """Leave what lives for ever out of every search for garbage, and search seldom."""
    _OPEN[worker.age % _SLOTS] = 1
    for listener in worker.sockets:
        give_up_the_dead(listener)
    settings = worker.cfg.settings.items()  # looked up one by one 22 times for each request
    vars(worker.cfg).update({name: setting.get() for name, setting in settings})
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


def give_up_the_dead(listener: Any) -> None:
    """
    Let connections that *listener* takes end two minutes after their client's machine is gone.

    A machine that loses its power or its network says nothing; the thread that waits for the rest
    of its upload, or for room to send on, would wait for ever, or for a quarter of an hour.
    """
    if listener.family in {socket.AF_INET, socket.AF_INET6}:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)  # seconds
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)  # seconds
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 120_000)  # milliseconds


def child_exit(_server: Any, worker: Any) -> None:
    """Count no more what a worker that ended had open; what it has done stays counted."""
    _OPEN[worker.age % _SLOTS] = 0
    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call] # it has no types


def on_exit(_server: Any) -> None:
    """Remove what the workers have counted."""
    if directory := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        shutil.rmtree(directory, ignore_errors=True)


_STDOUT = 1
_MOMENT = 2  # milliseconds


_SLOTS = 256  # of workers' numbers, which go up; so many are never at work at once
_HEAD_START = 0.001  # seconds
_OPEN = memoryview(mmap.mmap(-1, 4 * _SLOTS)).cast("i")
"""One more than the connections that each worker has open, 0 where there is none; all see it."""


class Worker(gthread.ThreadWorker):  # type: ignore[misc] # gunicorn has no types
    """
    gunicorn's threads, with three changes.

    A new connection gets a thread only when it has said something. A thread that has answered
    waits a moment for the next request on the same connection, if no other waits for a thread:
    giving the connection back to the main thread costs as much as a small answer. And a worker that
    has more connections open than another lets that one take the next: whoever is awake would
    get most of those that come at once, and a worker does not use more than one core.
    """

    def accept(self, listener: Any) -> None:
        """Take a connection, after those who have fewer had the chance."""
        own = self.age % _SLOTS
        others = [number for slot, number in enumerate(_OPEN) if number and slot != own]
        if others and self.nr_conns >= min(others):
            time.sleep(_HEAD_START)
        super().accept(listener)
        _OPEN[own] = self.nr_conns + 1

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Do what is due, and say how many connections are open."""
        super().wait_for_and_dispatch_events(timeout)
        _OPEN[self.age % _SLOTS] = self.nr_conns + 1

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
