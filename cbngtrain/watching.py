"""
What a build leaves for those who watch it: its summary in the store, numbers for Prometheus.

What was built is kept whatever becomes of these: whoever cannot leave one of them says so, and the
build's exit status stays what it is.
"""

import os
import platform
import threading
import time
from calendar import timegm
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from cbngtrain.errors import StoreError
from cbngtrain.store import Store
from cbngtrain.summary import TIME, build_name

SHORT, LONG = 2.0, 120.0
"""Seconds that the store may take for the summary of a build that is stopped, and of others."""


def leave(
    store: Store, summary: Mapping[str, Any], metrics_file: Path | None, seconds: float
) -> list[str]:
    """
    Leave *summary* in the store, and its numbers in *metrics_file* if that is asked for.

    Args:
        store: Where the summary is kept.
        summary: As ``summary.py`` has it.
        metrics_file: Where Prometheus looks.
        seconds: How long the store may take.

    Returns:
        What could not be left, a line each.
    """
    problems = []
    name = build_name(summary["began"], platform.node(), os.getpid())
    try:
        keep_summary(store, name, summary, seconds)
    except StoreError as error:
        problems.append(f"NOT KEPT: the summary of this build: {error}")
    if metrics_file:
        try:
            write_metrics(metrics_file, summary, is_kept=not problems)
        except StoreError as error:
            problems.append(f"NOT KEPT: the numbers of this build: {error}")
    return problems


def keep_summary(store: Store, name: str, summary: Mapping[str, Any], seconds: float) -> None:
    """
    Keep *summary* under the build's *name*, and give up after so many *seconds*.

    Raises:
        StoreError: The store refused, failed, or did not answer in time.
    """
    problems = [StoreError(f"no answer within {seconds:.0f} s")]

    def keep() -> None:
        try:
            store.keep_build(name, summary)
        except StoreError as error:
            problems[:] = [error]
        else:
            problems.clear()

    keeper = threading.Thread(target=keep, name="summary", daemon=True)
    keeper.start()
    keeper.join(seconds)
    if problems:
        raise problems[0]


def write_metrics(path: Path, summary: Mapping[str, Any], *, is_kept: bool) -> None:
    """
    Write *summary* to *path* as numbers that Prometheus' node exporter reads, whole or not at all.

    Raises:
        StoreError: The file system refused.
    """
    registry = CollectorRegistry()
    for name, (doc, value) in _numbers(summary, is_kept=is_kept).items():
        Gauge(name, doc, registry=registry).set(value)
    tasks = Gauge("cbng_build_tasks", "Tasks by what became of them", ["did"], registry=registry)
    for did, number in summary["counts"].items():
        tasks.labels(did).set(number)
    failed = Gauge(
        "cbng_build_failed_steps", "Failed steps and sources", ["edit_set"], registry=registry
    )
    complete = Gauge(
        "cbng_build_complete", "1 where all stands, published", ["edit_set"], registry=registry
    )
    for name, told in summary["edit_sets"].items():
        failed.labels(name).set(len(told["failed"]))
        complete.labels(name).set(told["complete"])
    try:
        write_to_textfile(str(path), registry)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error


def _numbers(summary: Mapping[str, Any], *, is_kept: bool) -> dict[str, tuple[str, float]]:
    """Return metrics without labels: name → meaning and value."""
    return {
        "cbng_build_began_seconds": ("When it began, since the epoch", _seconds(summary["began"])),
        "cbng_build_seconds": ("How long it took", summary["seconds"]),
        "cbng_build_status": ("Exit status", summary["status"]),
        "cbng_build_pods": ("Steps that ran elsewhere", summary["pods"]),
        "cbng_build_pod_seconds": ("What these took together", summary["pod_seconds"]),
        "cbng_build_summary_kept": ("1 if the store has its summary", is_kept),
    }


def _seconds(at: str) -> int:
    """Return a UTC time in seconds since the epoch."""
    return timegm(time.strptime(at, TIME))
