"""
A file as the answer to GET or HEAD: validators, ranges, and headers that keep its reader safe.

RFC 9110 (ETag, If-None-Match, Range, If-Range), RFC 9530 (Repr-Digest), RFC 6266
(Content-Disposition). The file is sent by the kernel (sendfile): the server asks for its
descriptor and sends from where it stands.
"""

import base64
import hashlib
import os
import re
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import falcon

from cbngtrain.step import Digest, canonical_json

IMMUTABLE = "public, max-age=31536000, immutable"
CHANGING = "no-cache"

BINARY = "application/octet-stream"
_TYPES = {
    ".txt": "text/plain; charset=utf-8",
    ".log": "text/plain; charset=utf-8",
    ".dat": "text/plain; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".json": "application/json",
    ".xml": "application/xml",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
_POLICY = "default-src 'none'; sandbox"
_PICTURE = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""A plot that is an SVG has styles of its own, and so has a browser's view of any picture."""

_SMALL = 64 << 10  # bytes up to which a file is read: cheaper than having the kernel send it

_RANGE = re.compile(r"bytes=([0-9]{0,1000})-([0-9]{0,1000})", re.ASCII | re.IGNORECASE)
_ETAG = re.compile(r'(W/)?("[^"]*")')


@dataclass(frozen=True, slots=True)
class File:
    """
    What is sent.

    Attributes:
        path: Where it is, all links followed.
        digest: The sha256 of its bytes.
        name: What it is called when it is saved; empty for the digest.
        cache: The value of Cache-Control.
        modified: Seconds since the epoch; if None, the file's own.
    """

    path: Path | str
    digest: Digest
    name: str
    cache: str
    modified: int | None = None


class _Slice:
    """A part of an open file, with the descriptor that lets the server send it by sendfile."""

    def __init__(self, descriptor: int, start: int, length: int) -> None:
        os.lseek(descriptor, start, os.SEEK_SET)
        self._descriptor = descriptor
        self._left = length

    def fileno(self) -> int:
        return self._descriptor

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        chunk = os.read(self._descriptor, wanted)
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        os.close(self._descriptor)


def send(req: falcon.Request, resp: falcon.Response, file: File) -> None:
    """
    Answer *req* with *file*, or the part of it that is asked for.

    Raises:
        falcon.HTTPError: 412 where a precondition fails, 416 where the part is outside of the file.
        FileNotFoundError: It is gone.
    """
    descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        modified = int(status.st_mtime) if file.modified is None else file.modified
        part = _wanted(req, resp, file, status.st_size, modified)
        if part is None:
            return
        start, length = part
        resp.content_length = length
        if req.method != "HEAD" and length <= _SMALL:
            resp.data = os.pread(descriptor, length, start)
        elif req.method != "HEAD":
            resp.stream = _Slice(descriptor, start, length)
            descriptor = -1
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def send_json(req: falcon.Request, resp: falcon.Response, value: object) -> None:
    """Answer *req* with *value*, as `send` does; it may change, so it is asked for again."""
    text = canonical_json(value)
    made = File("", Digest(hashlib.sha256(text).hexdigest()), "", CHANGING)
    part = _wanted(req, resp, made, len(text), None)
    if part is not None:
        start, length = part
        resp.content_type = falcon.MEDIA_JSON
        resp.data = text[start : start + length]


def _wanted(
    req: falcon.Request, resp: falcon.Response, file: File, size: int, modified: int | None
) -> tuple[int, int] | None:
    """
    Return start and length of what is to be sent, None where 304 says all; set all headers.

    The order is that of RFC 9110, 13.2.2. Raises falcon.HTTPError (412, 416).
    """
    _refuse_failed(req, file, modified)
    if is_known(req, file.digest, modified):
        resp.status = falcon.HTTP_304
        part = None
    else:
        part = _part(req, resp, file, size, modified)
        _describe(resp, file)
    _validate(resp, file, modified)
    return part


def _validate(resp: falcon.Response, file: File, modified: int | None) -> None:
    """Set the headers that 304 has too: a cache takes them in place of those that it kept."""
    raw = base64.b64encode(bytes.fromhex(file.digest)).decode()
    resp.set_headers(
        {
            "ETag": f'"{file.digest}"',
            "Repr-Digest": f"sha-256=:{raw}:",
            "Cache-Control": file.cache,
            "Content-Security-Policy": _PICTURE if _is_picture(file.name) else _POLICY,
        }
    )
    if modified is not None:
        resp.set_header("Last-Modified", _date(modified))


@lru_cache(maxsize=10_000)
def _date(seconds: int) -> str:
    """Return the HTTP date of *seconds* since the epoch."""
    return formatdate(seconds, usegmt=True)


def _describe(resp: falcon.Response, file: File) -> None:
    """Say what the bytes are."""
    resp.content_type = kind = _kind(file.name)
    resp.set_header("Accept-Ranges", "bytes")
    if file.name:
        resp.set_header("Content-Disposition", _disposition(file.name, kind))


def _kind(name: str) -> str:
    """Return the media type of what has this name."""
    return _TYPES.get(PurePosixPath(name).suffix.lower(), BINARY) if name else BINARY


def _is_picture(name: str) -> bool:
    return _kind(name).startswith("image/")


def _disposition(name: str, kind: str) -> str:
    """Return how a browser shows or saves *name*; nothing in a name can end the header."""
    shown = "attachment" if kind == BINARY else "inline"
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    return f"{shown}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _refuse_failed(req: falcon.Request, file: File, modified: int | None) -> None:
    """Raise 412 where who asks wants these bytes only if they are others."""
    tags, since = req.env.get("HTTP_IF_MATCH"), req.env.get("HTTP_IF_UNMODIFIED_SINCE")
    if tags is not None:
        is_met = tags.strip() == "*" or ("", f'"{file.digest}"') in _ETAG.findall(tags)
    else:
        is_met = since is None or modified is None or not 0 <= _seconds(since) < modified
    if not is_met:
        raise falcon.HTTPPreconditionFailed(
            title="Other bytes", description=f"these have the digest {file.digest}"
        )


def is_known(req: falcon.Request, digest: str, modified: int | None = None) -> bool:
    """Return whether who asks has the bytes of that *digest* already; a weak tag is as good."""
    if (tags := req.env.get("HTTP_IF_NONE_MATCH")) is not None:
        return tags.strip() == "*" or f'"{digest}"' in (tag for _, tag in _ETAG.findall(tags))
    since = req.env.get("HTTP_IF_MODIFIED_SINCE")
    return since is not None and modified is not None and modified <= _seconds(since)


def _seconds(date: str) -> float:
    """Return the HTTP date in seconds since the epoch; long ago if it is none."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return -1.0


def _part(
    req: falcon.Request, resp: falcon.Response, file: File, size: int, modified: int | None
) -> tuple[int, int]:
    """Return start and length of what is asked for, and say so in *resp*. Raises HTTPError 416."""
    header = req.env.get("HTTP_RANGE")
    if header is None or req.method != "GET":  # for which alone ranges are defined
        return 0, size
    asked = _RANGE.fullmatch(header.strip())
    if asked is None or asked.groups() == ("", "") or not _is_in_range(req, file, modified):
        return 0, size  # no range, one of another kind, or several: the whole answers each
    first, last = asked.groups()
    if first and last and int(last) < int(first):
        return 0, size
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last), size - 1) if first and last else size - 1
    if start >= size or (not first and int(last) == 0):
        raise falcon.HTTPRangeNotSatisfiable(
            size, title="Outside of the file", description=f"there are {size} bytes"
        )
    resp.status = falcon.HTTP_206
    resp.set_header("Content-Range", f"bytes {start}-{end}/{size}")
    return start, end - start + 1


def _is_in_range(req: falcon.Request, file: File, modified: int | None) -> bool:
    """Return whether If-Range, if given, names these very bytes (weak validators never do)."""
    wanted = req.env.get("HTTP_IF_RANGE")
    if wanted is None or wanted.startswith('"'):
        return wanted in {None, f'"{file.digest}"'}
    return _seconds(wanted) == modified
