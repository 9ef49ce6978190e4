"""From the text of a variable or an option to its value; ValueError tells what was expected."""

import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from cbngtrain.image import Image

T = TypeVar("T")

_MOST_DIGITS = 20  # of a number


def argument(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return *parse* for a command line, as argparse wants to be told what was expected."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise ArgumentTypeError(f"{text!r} is not {error}") from error

    return parsed


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from *lowest* to *highest*."""

    def parse(text: str) -> int:
        digits = text.strip()
        is_number = digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS
        if not is_number or not lowest <= int(digits) <= highest:
            raise ValueError(f"a whole number from {lowest} to {highest}")
        return int(digits)

    return parse


def some_text(text: str) -> str:
    """Return *text* without the space around it, of which something is left."""
    if not (told := text.strip()):
        raise ValueError("a text")
    return told


def limit(text: str) -> int | None:
    """Return a number of seconds, or None for an empty text."""
    return whole_number(1, 10**7)(text) if text else None


def factor(text: str) -> float:
    """Return a factor by which amounts are scaled."""
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", text) or not 0.1 <= float(text) <= 100:
        raise ValueError("a number from 0.1 to 100")
    return float(text)


def image(text: str) -> Image | None:
    """Return an image, or None for an empty text."""
    return Image.parse(text) if text else None


def name_of_release(text: str) -> str:
    """Return the name of a release, which becomes part of a URL."""
    if not re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]{0,99})?", text):
        raise ValueError("a release such as v1.0.3: letters, digits, dots, dashes")
    return text


def namespace(text: str) -> str:
    """Return the name of a Kubernetes namespace (a DNS label), or nothing."""
    if not re.fullmatch(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?", text):
        raise ValueError("a Kubernetes namespace: up to 63 of a-z, 0-9 and dashes")
    return text


def seed(text: str) -> int | None:
    """Return a seed, or None for an empty text."""
    return whole_number(0, 2**32 - 1)(text) if text else None


def percent(text: str) -> float | None:
    """Return a percentage as a share, or None for an empty text."""
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,9})?", text) or not 0 < float(text) < 100:
        raise ValueError("a percentage between 0 and 100, such as 3.4")
    return float(Decimal(text) / 100)


RATES = ("1", "0.5", "0.25", "0.1", "0.01")
"""False positive rates in percent that the evaluation tells of."""


def rate(text: str) -> float:
    """Return one of `RATES` as a share."""
    if text not in RATES:
        raise ValueError(f"{', '.join(RATES[:-1])} or {RATES[-1]}")
    return float(Decimal(text) / 100)


def points(text: str) -> float:
    """Return points of a share, as a share."""
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,9})?", text):
        raise ValueError("a number of points from 0 to 99.9")
    return float(Decimal(text) / 100)


def one_of(*words: str) -> Callable[[str], str]:
    """Return a parser of one of *words*."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(" or ".join(filter(None, words)))
        return text

    return parse


def directory(text: str) -> Path | None:
    """Return an existing directory, or None for an empty text."""
    if text and not Path(text).is_dir():
        raise ValueError("a directory that exists")
    return Path(text).resolve() if text else None


def conf_directory(text: str) -> Path | None:
    """Return a directory of configuration, or None for an empty text."""
    path = directory(text)
    if path and not any(path.glob("*.conf")) and not any(path.glob("*/*.conf")):
        raise ValueError("a directory with the core's *.conf")
    return path


def new_file(text: str) -> Path | None:
    """Return a file in a directory that exists, or None for an empty text."""
    path = Path(text).absolute()
    is_other = path.exists() and not path.is_file()  # a directory, or a device: never replaced
    if text and (not path.parent.is_dir() or is_other):
        raise ValueError("a file in a directory that exists")
    return path if text else None


def file(text: str) -> Path | None:
    """Return an existing file, or None for an empty text."""
    if text and not Path(text).is_file():
        raise ValueError("a file that exists")
    return Path(text).resolve() if text else None


def http_url(text: str) -> str:
    """Return a URL of a scheme that the store's client speaks, without a slash at its end."""
    if text and not _is_on_the_web(text):
        raise ValueError(f"a URL that begins with {_ON_THE_WEB}")
    return text.rstrip("/")


def has_password(text: str) -> bool:
    """Return whether *text* is a URL that says who asks, perhaps with a password."""
    return re.search("://[^/?#]*@", text) is not None


_ON_THE_WEB = "http:// or https:// and a host, without a password"


def _is_on_the_web(text: str) -> bool:
    """
    Return whether *text* is a URL of http or https, with a host and perhaps a port.

    URLs are logged, shown on pages and written on command lines: one with a password is none.
    """
    try:
        parts = urlsplit(text)
        is_web = parts.scheme in {"http", "https"} and not has_password(text)
        return is_web and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, brackets without an address
        return False


def reference(text: str) -> str:
    """Return a URL without a slash at its end, ``image``, ``none``, or nothing."""
    if text in {"", "image", "none"} or _is_on_the_web(text):
        return text.rstrip("/")
    path = Path(text.removeprefix("file:"))
    if not path.is_dir():
        raise ValueError("a directory that exists, a URL of http:// or https://, image, or none")
    return f"file:{path.resolve()}"


def tokens(text: str) -> str:
    """Return tokens that can stand in a header."""
    if not text.isascii() or not text.isprintable():
        raise ValueError("made of printable ASCII characters")
    return text


def review_url(text: str) -> str:
    """Return a URL of a scheme that the review client speaks."""
    if not text.startswith("file:") and not _is_on_the_web(text):
        raise ValueError(f"a URL that begins with file:, or {_ON_THE_WEB}")
    return text
