"""The pages' templates, how they are filled, and the words they use for numbers."""

import time
from calendar import timegm
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from web.figures import points


def render(name: str, **values: object) -> str:
    """Return the template *name* filled with *values*, escaped."""
    return _ENVIRONMENT.get_template(name).render(**values)


def age(name: str, now: float | None = None) -> str:
    """
    Return how long ago a UTC time ``YYYY-mm-dd HH:MM:SS`` was, for people: ``3 hours ago``.

    What is no time, in a text that anybody may have written, has no age.
    """
    try:
        then = timegm(time.strptime(name, "%Y-%m-%d %H:%M:%S"))
    except ValueError:
        return ""
    past = max((time.time() if now is None else now) - then, 0)
    for length, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if past >= length:
            count = int(past // length)
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"


def size(number: int | None) -> str:
    """Return a number of bytes for people: ``1.4 MB``."""
    if number is None:
        return "gone"
    value = float(number)
    for unit in ("bytes", "KB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def duration(seconds: float | None) -> str:
    """Return how long something took, for people: ``12 s``, ``3 min``, ``2.5 h``."""
    if seconds is None:
        return "unknown"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def sparkline(values: Sequence[float]) -> str:
    """Return the points of a line through *values*, for an SVG of 100 by 24."""
    return points(values, 100, 20)


_ENVIRONMENT = Environment(
    loader=PackageLoader("web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(age=age, bytes=size, duration=duration, sparkline=sparkline)
