"""
The review service's API: edit groups, and dumps of their edits.

``file:DIR`` stands for a service on disk: ``DIR/edit-groups.json`` and ``DIR/dumps/{id}.xml`` or
``{id}.xml.gz``.
"""

import json
import logging
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import requests
from tqdm import tqdm

from cbngtrain.errors import ReviewError, reason

log = logging.getLogger(__name__)

T = TypeVar("T")

GROUPS = "/api/v1/edit-groups/?exclude_empty_editsets=1"
DUMP = "/api/v1/edit-groups/{id}/dump-editset/"

TYPES = ("Generic", "Reported False Positives", "Training", "Trial")

_TIMEOUT = (10, 300)  # seconds: to connect, between two reads
_WAITS = (1, 2, 4)  # seconds before it is asked for the second, third and last time
_MAY_PASS = frozenset({429, 500, 502, 503, 504})  # statuses of a service that is busy or restarts
_CHUNK = 1 << 18  # bytes
_START, _END = b"<WPEditSet", b"</WPEditSet>"
_SURROGATE = re.compile("[\ud800-\udfff]")
_AGENT = "cbngtrain (https://en.wikipedia.org/wiki/User:ClueBot_NG)"


@dataclass(frozen=True, slots=True)
class EditGroup:
    """
    A row of the review service.

    Attributes:
        id: The service's number for it.
        name: Such as ``Report Interface Import``.
        type: One of `TYPES`.
        related_to: The id of its parent, or None.
    """

    id: int
    name: str
    type: str
    related_to: int | None

    @classmethod
    def from_json(cls, value: Any, url: str) -> Self:
        """Raises ReviewError, naming *url*, where *value* is no edit group."""
        try:
            group = cls(value["id"], value["name"], value["type"], value["related_to"])
        except (KeyError, TypeError) as error:
            raise ReviewError(f"{url}: an edit group is malformed: {error!r}") from error
        is_sound = (
            type(group.id) is int  # True is an int, too
            and isinstance(group.name, str)
            and not _SURROGATE.search(group.name)  # JSON can hold what is no text
            and group.type in TYPES
            and type(group.related_to) in {int, type(None)}
        )
        if not is_sound:
            raise ReviewError(f"{url}: an edit group is malformed: {str(value)[:200]}")
        return group

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return asdict(self)


def edit_groups_from_json(value: Any, url: str) -> list[EditGroup]:
    """Return the groups of a JSON list; raises ReviewError, naming *url*, where it is none."""
    if not isinstance(value, list):
        raise ReviewError(f"{url}: not a list of edit groups but {str(value)[:80]!r}")
    groups = [EditGroup.from_json(row, url) for row in value]
    ids = Counter(group.id for group in groups)
    if twice := [group_id for group_id, number in ids.items() if number > 1]:
        raise ReviewError(f"{url}: edit group {twice[0]} is listed twice")
    return groups


class ReviewService:
    """The review service at a URL, or on disk."""

    def __init__(
        self,
        url: str,
        sleep: Callable[[float], None] = time.sleep,
        who: str = "the review service",
    ) -> None:
        """
        Args:
            url: ``http://…``, ``https://…`` or ``file:DIR``.
            sleep: Waits that many seconds.
            who: What is asked, for errors.
        """
        self._url = url.rstrip("/")
        self._sleep = sleep
        self._who = who

    def edit_groups(self) -> list[EditGroup]:
        """Return all groups. Raises ReviewError."""
        if self._url.startswith("file:"):
            path = _path(self._url) / "edit-groups.json"
            try:
                text = path.read_bytes()
            except OSError as error:
                problem = f"the edit groups cannot be read: {error.strerror}"
                hint = "CBNG_REVIEW_URL says where they are"
                raise ReviewError(f"{path}: {problem}; {hint}") from error
            return edit_groups_from_json(_parsed(text, str(path)), str(path))
        url = self._url + GROUPS
        return edit_groups_from_json(_parsed(self._asked(url, _content), url), url)

    def dump_url(self, group: EditGroup) -> str:
        """Return where the dump of *group* is."""
        if self._url.startswith("file:"):
            path = _path(self._url) / "dumps" / f"{group.id}.xml"
            return f"file:{path if path.exists() else path.with_suffix('.xml.gz')}"
        return self._url + DUMP.format(id=group.id)

    def download(self, url: str, path: Path) -> None:
        """
        Write what is at *url* to *path*, with a progress bar on a terminal.

        A download that breaks off is begun again, a few times. One that ends in order, but before
        the end tag, is asked for once more and then left as it is: who reads it tells the line.

        Raises:
            ReviewError: The service cannot be asked, refuses, or breaks off each time.
        """
        if url.startswith("file:"):
            _copy(url, path)
            return
        self._asked(url, lambda answer: _write(answer, path))
        if _is_cut(path):
            log.warning("%s: ends without %s; trying once more", url, _END.decode())
            self._sleep(_WAITS[0])
            self._asked(url, lambda answer: _write(answer, path))

    def _asked(self, url: str, read: Callable[[requests.Response], T]) -> T:
        """
        Return what *read* makes of the answer at *url*.

        What may pass, such as a connection that breaks or a service that restarts, is tried
        again, a few times in all.
        """
        for wait in _WAITS:
            try:
                return _asked_once(url, read, self._who)
            except ReviewError as error:
                if not _may_pass(error.__cause__):
                    raise
                log.warning("%s; trying again in %d s", error, wait)
                self._sleep(wait)
        return _asked_once(url, read, self._who)


def _path(url: str) -> Path:
    """Return the path of a ``file:`` URL."""
    return Path(url.removeprefix("file:"))


def _parsed(text: bytes, url: str) -> Any:
    """Return the JSON value of *text*. Raises ReviewError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        start = text[:80].decode(errors="replace")
        raise ReviewError(f"{url}: the answer is no JSON: {start!r}") from error


def _copy(url: str, path: Path) -> None:
    """Copy the file at a ``file:`` URL to *path*. Raises ReviewError."""
    try:
        shutil.copyfile(_path(url), path)
    except OSError as error:
        raise ReviewError(f"{url}: cannot be copied: {error.strerror}") from error


# HTTP ------------------------------------------------------------------------------------------


def _asked_once(url: str, read: Callable[[requests.Response], T], who: str) -> T:
    """Return what *read* makes of the answer at *url*. The client's errors become ReviewError."""
    try:
        with requests.get(
            url, stream=True, timeout=_TIMEOUT, headers={"User-Agent": _AGENT}
        ) as answer:
            answer.raise_for_status()
            return read(answer)
    except requests.HTTPError as error:
        told = f"{error.response.status_code} {error.response.reason}"
        raise ReviewError(f"{url}: {who} answered {told}") from error
    except requests.RequestException as error:
        raise ReviewError(f"{url}: {who} cannot be asked: {reason(error)}") from error
    except OSError as error:
        raise ReviewError(f"{url}: its answer cannot be written: {error}") from error


def _may_pass(error: BaseException | None) -> bool:
    """Return whether asking again may help."""
    if isinstance(error, requests.HTTPError):
        return error.response.status_code in _MAY_PASS
    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, passing)


def _content(answer: requests.Response) -> bytes:
    """Return all of *answer*."""
    return answer.content


def _write(answer: requests.Response, path: Path) -> None:
    """Stream *answer* to *path*; the service tells no length."""
    with (
        path.open("wb") as file,
        tqdm(desc=answer.url[-40:], unit="B", unit_scale=True, disable=None, leave=False) as bar,
    ):
        for chunk in answer.iter_content(_CHUNK):
            file.write(chunk)
            bar.update(len(chunk))


def _is_cut(path: Path) -> bool:
    """Return whether *path* begins like a dump and does not end like one."""
    with path.open("rb") as file:
        start = file.read(_CHUNK)
        file.seek(max(0, path.stat().st_size - 64))
        return _START in start and not file.read().rstrip().endswith(_END)
