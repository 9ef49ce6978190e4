"""
The bytes of an upload, as they come: limited in size and in what they leave of the disk.

A body comes with a length or chunked. With a length the server's reader ends silently where the
client broke off, so the length is checked here; chunked, it raises.
"""

import io
import json
import math
import shutil
from pathlib import Path
from typing import Any

import falcon

_LOOK = 64 << 20  # bytes after which free disk is looked at again

NO_LENGTH = falcon.HTTPLengthRequired(
    title="No length", description="send a Content-Length, or Transfer-Encoding: chunked"
)


class Upload(io.RawIOBase):
    """A request's body, to be read once to its end."""

    def __init__(self, req: falcon.Request, largest: int, root: Path, keep_free: int) -> None:
        """
        Args:
            req: The request.
            largest: Bytes that a body may have.
            root: A directory on the disk that the body goes to.
            keep_free: Bytes of that disk that must stay free.

        Raises:
            falcon.HTTPError: 400, 411, 413, 415, 501 or 507, told by the headers alone.
        """
        is_chunked = _is_chunked(req)
        if req.content_length is None and not is_chunked:
            raise NO_LENGTH
        self._length = None if is_chunked else req.content_length
        self._source = req.env["wsgi.input"]
        self._largest, self._root, self._keep_free = largest, root, keep_free
        self.seen = 0  # bytes that came so far
        self._looked = 0
        self._bound(self._length or 0)
        self._look(self._length or 0)

    def readinto(self, buffer: Any, /) -> int:
        """Write the next bytes to *buffer*. Raises falcon.HTTPError (400, 413, 507)."""
        left = self._largest + 1 if self._length is None else self._length - self.seen
        place = memoryview(buffer)[:left]
        try:
            count = _read_into(self._source, place) if place else 0
        except Exception as error:  # the server's own: truncated, malformed or stalled
            raise _short(f"the body broke off after {self.seen} bytes") from error
        self.seen += count
        if place and not count and self._length is not None:
            raise _short(f"{self.seen} bytes came of {self._length}")
        self._bound(self.seen)
        if self.seen - self._looked >= _LOOK:
            self._looked = self.seen
            self._look(0)
        return count

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def _bound(self, size: int) -> None:
        """Raise 413 if *size* is more than a body may have."""
        if size > self._largest:
            raise falcon.HTTPContentTooLarge(
                title="Too large", description=f"at most {self._largest} bytes are taken"
            )

    def _look(self, coming: int) -> None:
        """Raise 507 unless *coming* bytes leave enough of the disk."""
        existing = next(path for path in (self._root, *self._root.parents) if path.exists())
        free = shutil.disk_usage(existing).free
        if free - coming < self._keep_free:
            raise falcon.HTTPInsufficientStorage(
                title="Disk is full",
                description=f"{free} bytes are free, of which {self._keep_free} are kept",
            )


def _read_into(source: Any, buffer: memoryview) -> int:
    """Write the next bytes of *source* to *buffer*, without a copy where it knows how to."""
    if hasattr(source, "readinto"):
        return int(source.readinto(buffer))
    chunk = source.read(len(buffer))
    buffer[: len(chunk)] = chunk
    return len(chunk)


def _is_chunked(req: falcon.Request) -> bool:
    """Return whether the body comes in chunks. Raises 400, 415, 501 where it is not the bytes."""
    if req.get_header("Content-Range") is not None:
        raise falcon.HTTPBadRequest(
            title="Part of a file", description="send the whole: parts are not put together here"
        )
    if (req.get_header("Content-Encoding") or "identity").lower() != "identity":
        raise falcon.HTTPUnsupportedMediaType(
            title="Coded content", description="send the bytes as they are to be stored"
        )
    coding = (req.get_header("Transfer-Encoding") or "").strip().lower()
    if coding not in {"", "chunked"}:
        raise falcon.HTTPNotImplemented(
            title="Coded transfer", description="of transfer codings, only chunked is known"
        )
    return coding == "chunked"


def _short(description: str) -> falcon.HTTPError:
    return falcon.HTTPBadRequest(
        title="Short body", description=f"{description}; nothing was stored"
    )


def json_value(upload: Upload) -> Any:
    """
    Return the JSON value that *upload* is, which can be shown on a page and sent as JSON again.

    Raises:
        falcon.HTTPError: 400 where it is none, or holds half of a surrogate pair or a number that
            is not finite; 413.
    """
    text = upload.readall()
    try:
        value = json.loads(text, parse_constant=_number, parse_float=_number, parse_int=_whole)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise falcon.HTTPBadRequest(title="No JSON", description=f"the body: {error}") from error
    return value


def _number(text: str) -> float:
    """Return a finite number. Raises ValueError."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"the number {text[:40]} is not finite")
    return number


def _whole(text: str) -> int:
    """Return a whole number that a float can hold. Raises ValueError."""
    _number(text)
    return int(text)
