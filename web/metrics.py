"""
What the service counts, for Prometheus.

Requests are counted where gunicorn logs them, when the last byte is sent; each worker writes its
numbers to files that `/_/metrics` adds up, so it does not matter which worker is asked. What is in
the store is counted when it is asked for.
"""

import os
import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import falcon
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, values
from prometheus_client import generate_latest as as_text
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY, Collector

ROUTE = "cbng.route"
"""Where a request's route is kept for who counts it, in its WSGI environment."""

_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"})
_SHARE = 0.02  # of the time, at most, goes into counting blobs; until then the last number stands

_PROCESS = [os.getpid()]
os.register_at_fork(after_in_child=lambda: _PROCESS.__setitem__(0, os.getpid()))
if values.ValueClass is not values.MutexValue:  # gunicorn's workers: each has files of its own
    values.ValueClass = values.MultiProcessValue(lambda: _PROCESS[0])  # type: ignore[no-untyped-call] # it has no types
    # The default asks the kernel for the process' number at each count.

_REQUESTS = Counter("cbng_requests", "Requests answered", ["route", "method", "status"])
_SENT = Counter("cbng_sent_bytes", "Bytes of bodies sent", ["route"])
_TAKEN = Counter("cbng_taken_bytes", "Bytes of bodies that requests with a length had", ["route"])
_SECONDS = Histogram(
    "cbng_request_seconds",
    "Seconds from the request's headers to the last byte of the answer",
    ["route"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
)


def count(environ: Any, status: str, sent: int, took: timedelta) -> None:
    """Count a request that was answered."""
    route = environ.get(ROUTE, "none")
    _requests(route, environ.get("REQUEST_METHOD", ""), status).inc()
    _sent(route).inc(sent)
    _seconds(route).observe(took.total_seconds())
    length = environ.get("CONTENT_LENGTH", "")
    if length.isdecimal() and status.startswith("2"):
        _TAKEN.labels(route).inc(int(length))


@lru_cache
def _requests(route: str, method: str, status: str) -> Counter:
    """Return the counter with these labels; looking it up costs more than counting."""
    return _REQUESTS.labels(route, method if method in _METHODS else "other", status)


@lru_cache
def _sent(route: str) -> Counter:
    return _SENT.labels(route)


@lru_cache
def _seconds(route: str) -> Histogram:
    return _SECONDS.labels(route)


class _StoreCollector(Collector):
    """The store in numbers: blobs, records, free disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._counted: dict[str, int] = {}
        self._next = 0.0  # when it is counted again

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for kind, number in self._counts().items():
            yield GaugeMetricFamily(f"cbng_{kind}", f"Number of {kind}", value=number)
        free = shutil.disk_usage(self._root).free
        yield GaugeMetricFamily("cbng_disk_free_bytes", "Free bytes of the disk", value=free)

    def _counts(self) -> dict[str, int]:
        """Return how many blobs and records there are, or were a moment ago."""
        began = time.monotonic()
        if began >= self._next:
            kinds = {"blobs": "cas", "records": "ac"}
            self._counted = {kind: _files(self._root / name) for kind, name in kinds.items()}
            ended = time.monotonic()
            self._next = ended + (ended - began) / _SHARE
        return self._counted


def _files(directory: Path) -> int:
    """Return the number of files in the folders of *directory*."""
    walked = os.walk(directory)
    next(walked, None)  # what is on its way in lies beside the folders
    return sum(len(names) for _, _, names in walked)


class Metrics:
    """``/_/metrics``."""

    def __init__(self, root: Path, counts: str = "") -> None:
        """
        Args:
            root: The store's directory.
            counts: Where the workers write what they count; empty where there is but this one.
        """
        self._root = root
        self._store = _StoreCollector(root)
        self._counts = counts

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Send all numbers."""
        self._root.mkdir(parents=True, exist_ok=True)
        registry = CollectorRegistry()
        registry.register(self._store)
        if self._counts:
            MultiProcessCollector(registry, self._counts)  # type: ignore[no-untyped-call] # it has no types
            text = as_text(registry)
        else:
            text = as_text(registry) + as_text(REGISTRY)
        resp.content_type = CONTENT_TYPE_LATEST
        resp.set_header("Cache-Control", "no-store")
        resp.data = text

    on_head = on_get
