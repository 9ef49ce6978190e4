"""
gunicorn's configuration, as ``cbng-trainer run-file-api`` uses it: threads, limits, and its log.

    gunicorn -c python:web.serving --bind 127.0.0.1:8000 'web.app:get_app()'

Threads serve slow readers; a connection that says nothing holds none of them. One that sends half
a request does, so the service belongs behind a proxy that buffers.
"""

import gc
import mmap
import os
import shutil
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from gunicorn.glogging import Logger
from gunicorn.workers import gthread
from prometheus_client.multiprocess import mark_process_dead

from web import wire
from web.metrics import count
from web.warm import Warm

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
_KEPT = object()  # what becomes of a connection that is neither given back nor closed
_MORE = object()  # of one that has asked something more: it waits for a thread, like others
_SLOTS = 256  # of workers' numbers, which go up; so many are never at work at once
_HEAD_START = 0.001  # seconds
_OPEN = memoryview(mmap.mmap(-1, 4 * _SLOTS)).cast("i")
"""One more than the connections that each worker has open, 0 where there is none; all see it."""


class Worker(gthread.ThreadWorker):  # type: ignore[misc] # gunicorn has no types
    """
    gunicorn's threads, with three changes.

    A new connection gets a thread only when it has said something. One that was answered is waited
    for by the leader for a moment (`Warm`): giving it back to the main thread costs as much as a
    small answer. And a worker that has more connections open than another lets that one take the
    next: whoever is awake would get most of those that come at once, and a worker does not use
    more than one core.
    """

    def init_process(self) -> None:
        """Work until the service ends."""
        self._warm = Warm(self._serve, self._give_back, self._start, self._is_idle)
        wire.before_waiting(self._warm.step_down)
        super().init_process()

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
        """Serve what *conn* asks, and keep it warm, or hand it back to be waited for."""
        if not conn.initialized and not conn.wait_for_data(0):
            return gthread._DEFER  # noqa: SLF001 - what gunicorn's own handle returns, after 5 s
        stays = self._serve(conn)
        if stays is not True:
            return stays is _MORE or stays
        self._warm.keep(conn)
        return _KEPT

    def _serve(self, conn: Any) -> Any:
        """Serve what *conn* asks; more that it has sent already is no longer to be waited for."""
        stays = super().handle(conn)
        return _MORE if stays is True and conn.parser.unreader.buf.getvalue() else stays

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request; who may have to wait for the disk leads no more."""
        if req.method not in {"GET", "HEAD"} or not req.path.startswith("/cas/"):
            self._warm.step_down()
        return super().handle_request(req, conn)

    def finish_request(self, conn: Any, fs: "Future[Any]") -> None:
        """Wait for *conn* in the main thread, or close it, as was said; unless it is kept warm."""
        if fs.cancelled() or fs.exception() or fs.result() is not _KEPT:
            super().finish_request(conn, fs)

    def _give_back(self, conn: Any, stays: Any) -> None:
        """Have the main thread do what was said of *conn*."""
        told: Future[Any] = Future()
        told.set_result(stays is _MORE or stays)
        self.method_queue.defer(self.finish_request, conn, told)

    def _start(self, call: Callable[[], None]) -> None:
        """Have another thread call *call*."""
        self.tpool.submit(call)

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
        with suppress(OSError):  # a full disk, or nobody who reads: the answer was sent
            os.write(_STDOUT, line.encode())  # at once and whole; logging takes ten times as long


@lru_cache(maxsize=1)
def _now(seconds: int) -> str:
    """Return the time in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
