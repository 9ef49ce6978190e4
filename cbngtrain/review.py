"""
The review service's API: edit groups, and dumps of their edits.

``file:DIR`` stands for a service on disk: ``DIR/edit-groups.json`` and ``DIR/dumps/{id}.xml`` or
``{id}.xml.gz``.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util.retry import Retry

from cbngtrain.errors import ReviewError

log = logging.getLogger(__name__)

GROUPS = "/api/v1/edit-groups/?exclude_empty_editsets=1"
DUMP = "/api/v1/edit-groups/{id}/dump-editset/"

TYPES = ("Generic", "Reported False Positives", "Training", "Trial")

_TIMEOUT = (10, 300)  # seconds: to connect, between two reads
_ATTEMPTS = 4  # at a request or a download
_CHUNK = 1 << 18  # bytes


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
            isinstance(group.id, int)
            and isinstance(group.name, str)
            and group.type in TYPES
            and isinstance(group.related_to, int | None)
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
    return [EditGroup.from_json(row, url) for row in value]


class ReviewService:
    """The review service at a URL, or on disk."""

    def __init__(self, url: str, sleep: Callable[[float], None] = time.sleep) -> None:
        """
        Args:
            url: ``http://…``, ``https://…`` or ``file:DIR``.
            sleep: Waits that many seconds.
        """
        self._url = url.rstrip("/")
        self._sleep = sleep

    def edit_groups(self) -> list[EditGroup]:
        """Return all groups. Raises ReviewError."""
        if self._url.startswith("file:"):
            path = _path(self._url) / "edit-groups.json"
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ReviewError(f"{path}: the edit groups cannot be read: {error}") from error
            return edit_groups_from_json(_parsed(text, str(path)), str(path))
        url = self._url + GROUPS
        with _session() as session, _translated(url):
            answer = session.get(url, timeout=_TIMEOUT)
            answer.raise_for_status()
            return edit_groups_from_json(_parsed(answer.text, url), url)

    def dump_url(self, group: EditGroup) -> str:
        """Return where the dump of *group* is."""
        if self._url.startswith("file:"):
            path = Path(self._url.removeprefix("file:")) / "dumps" / f"{group.id}.xml"
            return f"file:{path if path.exists() else path.with_suffix('.xml.gz')}"
        return self._url + DUMP.format(id=group.id)

    def download(self, url: str, path: Path) -> None:
        """
        Write what is at *url* to *path*, with a progress bar on a terminal.

        A download that breaks off is begun again, a few times.

        Raises:
            ReviewError: The service cannot be asked, refuses, or breaks off each time.
        """
        if url.startswith("file:"):
            _copy(url, path)
            return
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with _session() as session, _translated(url):
                    _stream(session, url, path)
            except ReviewError as error:
                is_final = isinstance(error.__cause__, requests.HTTPError)
                if is_final or attempt == _ATTEMPTS:
                    raise
                log.warning("%s; trying again", error)
                self._sleep(2.0**attempt)
            else:
                return


def _path(url: str) -> Path:
    """Return the path of a ``file:`` URL."""
    return Path(url.removeprefix("file:"))


def _parsed(text: str, url: str) -> Any:
    """Return the JSON value of *text*. Raises ReviewError."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise ReviewError(f"{url}: the answer is no JSON: {text[:80]!r}") from error


def _copy(url: str, path: Path) -> None:
    """Copy the file at a ``file:`` URL to *path*. Raises ReviewError."""
    try:
        shutil.copyfile(_path(url), path)
    except OSError as error:
        raise ReviewError(f"{url}: cannot be read: {error.strerror}") from error


def _stream(session: requests.Session, url: str, path: Path) -> None:
    """Stream what is at *url* to *path*; the service tells no length."""
    with (
        session.get(url, stream=True, timeout=_TIMEOUT) as answer,
        path.open("wb") as file,
        tqdm(desc=url[-40:], unit="B", unit_scale=True, disable=None, leave=False) as bar,
    ):
        answer.raise_for_status()
        for chunk in answer.iter_content(_CHUNK):
            file.write(chunk)
            bar.update(len(chunk))


def _session() -> requests.Session:
    """Return a session that repeats requests which a busy service turns away."""
    retry = Retry(
        total=_ATTEMPTS - 1,
        backoff_factor=1,
        backoff_jitter=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET",),
        raise_on_status=False,
    )
    session = requests.Session()
    session.headers["User-Agent"] = "cbngtrain (https://en.wikipedia.org/wiki/User:ClueBot_NG)"
    session.mount("http://", HTTPAdapter(max_retries=retry))
    session.mount("https://", HTTPAdapter(max_retries=retry))
    return session


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Turn the HTTP client's errors into ReviewError."""
    try:
        yield
    except requests.HTTPError as error:
        reason = f"{error.response.status_code} {error.response.reason}"
        raise ReviewError(f"{url}: the review service answered {reason}") from error
    except requests.RequestException as error:
        raise ReviewError(f"{url}: the review service cannot be asked: {error}") from error
