"""
The store of a file service (``web/``), over HTTP.

Every request of this client may be repeated: reading, deleting, and putting what its address
names. So all are repeated while the service is away or overloaded, within bounds; a download goes
on where it broke off. What was fetched is verified before anybody sees it.
"""

import hashlib
import json
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import requests
import urllib3
from tqdm import tqdm

from cbngtrain.canonical import digest_of
from cbngtrain.errors import (
    BlobNotFound,
    DigestMismatch,
    FormatError,
    InstanceConflict,
    StoreError,
)
from cbngtrain.step import (
    Digest,
    Fingerprint,
    Record,
    canonical_json,
    digest,
    problem_with_target,
)
from cbngtrain.store import Instance

log = logging.getLogger(__name__)

TRIES = 8  # of one request, or of one transfer without a byte of progress
PATIENCE = 120.0  # seconds that one request may spend waiting between its tries
TIMEOUT = (10, 60)  # seconds to connect, and between two bytes

LARGE = 16 << 20  # bytes from which a transfer shows a bar
SMALL = 256 << 10  # bytes up to which a blob is sent without asking first, in one piece
ASKED_AT_ONCE = 20_000  # digests in one question

_CHUNK = 1 << 20  # bytes
_AWAY = frozenset({408, 425, 429, 502, 503, 504})  # statuses after which trying again helps
_LOST = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
)


@dataclass(slots=True)
class Patience:
    """
    What is left of the tries and of the time for one request.

    Attributes:
        sleep: How to wait.
        jitter: A number from 0 to 1, so that many clients do not come back at once.
        tries: How often it may still be tried.
        seconds: How long it may still wait.
    """

    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    tries: int = TRIES
    seconds: float = PATIENCE

    def wait(self, problem: str, retry_after: str | None = None) -> None:
        """Wait before the next try. Raises StoreError with the *problem* if there is none left."""
        self.tries -= 1
        backoff = min(0.25 * 2 ** (TRIES - self.tries), 30.0) * (0.5 + self.jitter() / 2)
        pause = max(backoff, _seconds(retry_after))
        if self.tries <= 0 or pause > self.seconds:
            raise StoreError(problem)
        log.info("%s; trying again in %.1f s", problem, pause)
        self.seconds -= pause
        self.sleep(pause)

    def refresh(self) -> None:
        """Have all tries again: there was progress."""
        self.tries = TRIES


def _seconds(retry_after: str | None) -> float:
    """Return what a Retry-After header asks for: seconds, or a date."""
    if retry_after is None:
        return 0.0
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(parsedate_to_datetime(retry_after).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return 0.0


class _Bearer(requests.auth.AuthBase):
    """The token; as an object of this kind no .netrc takes its place."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class HttpStore:
    """The store behind a URL."""

    def __init__(
        self, url: str, tokens: str = "", patience: Callable[[], Patience] = Patience
    ) -> None:
        """
        Args:
            url: Where the service is.
            tokens: What may write there; of several, with commas between, the first is sent.
            patience: Makes what one request may take.
        """
        self.url = url.rstrip("/")
        self._patience = patience
        self._session = requests.Session()
        self._session.auth = _Bearer(tokens.split(",", maxsplit=1)[0].strip())
        self._session.headers["Accept"] = "application/json"
        self._session.headers["Accept-Encoding"] = "identity"  # ranges and digests are of the bytes
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=32)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._added: dict[Digest, Path] = {}  # what may have to be uploaded again

    # Blobs

    def fetch(self, digest: Digest, path: Path) -> None:
        """See `Store`. A blob that comes with other bytes twice is taken out of the store."""
        part = path.with_name(f".{path.name}.part")
        try:
            for _ in range(2):
                if self._download(digest, part) == digest:
                    part.replace(path)
                    return
                log.warning("blob %s came with other bytes", digest)
        finally:
            part.unlink(missing_ok=True)
        self._take_out(digest)
        raise DigestMismatch(digest, f"blob {digest} had rotted at {self.place(digest)}")

    def _download(self, digest: Digest, path: Path) -> Digest:
        """Write the blob to *path*, going on where it breaks off; return its sha256."""
        patience = self._patience()
        sha256 = hashlib.sha256()
        with path.open("wb") as file:
            while True:
                try:
                    self._receive(digest, file, sha256.update, patience)
                except _LOST as error:
                    patience.wait(f"{self.place(digest)}: {_short(error)}")
                except OSError as error:
                    raise StoreError(f"{path} cannot be written: {error.strerror}") from error
                else:
                    return Digest(sha256.hexdigest())

    def _receive(
        self,
        digest: Digest,
        file: BinaryIO,
        update: Callable[[bytes], None],
        patience: Patience,
    ) -> None:
        """Append to *file* what it lacks of the blob."""
        start = file.tell()
        headers = {"Range": f"bytes={start}-", "If-Range": f'"{digest}"'} if start else {}
        with self._ask("GET", f"/cas/{digest}", patience, headers=headers, stream=True) as answer:
            if answer.status_code == 404:
                raise BlobNotFound(digest)
            if answer.status_code == 416:
                return
            if start and answer.status_code != 206:
                raise StoreError(f"{self.place(digest)}: cannot be read from byte {start} on")
            total = start + int(answer.headers.get("Content-Length", 0))
            with _bar(digest, total, start) as bar:
                while chunk := answer.raw.read1(
                    _CHUNK
                ):  # what is there: nothing is lost by a break
                    file.write(chunk)
                    update(chunk)
                    bar.update(len(chunk))
                    patience.refresh()

    def _take_out(self, digest: Digest) -> None:
        """Ask the service to look at the blob, and to remove it if it has rotted."""
        answer = self._ask("DELETE", f"/cas/{digest}")
        if answer.status_code not in {204, 404}:
            log.warning("%s was not taken out: %s", self.place(digest), _told(answer))

    def add(self, path: Path) -> Digest:
        """See `Store`. What is there is not sent again."""
        try:
            digest, size = digest_of(path), path.stat().st_size
        except OSError as error:
            raise StoreError(f"{path} cannot be stored: {error.strerror}") from error
        self._added[digest] = path
        if size <= SMALL or not self._has(digest, size):
            self._upload(digest, path, size)
        return digest

    def _has(self, digest: Digest, size: int) -> bool:
        """Return whether the service has the blob, with that size."""
        answer = self._ask("HEAD", f"/cas/{digest}")
        return answer.ok and answer.headers.get("Content-Length") == str(size)

    def _upload(self, digest: Digest, path: Path, size: int) -> None:
        """Send the blob."""
        with _bar(digest, size) as bar:

            def body() -> "bytes | _Body":
                bar.reset()
                return path.read_bytes() if size <= SMALL else _Body(path.open("rb"), size, bar)

            self._done(self._ask("PUT", f"/cas/{digest}", body=body))

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """See `Store`. One request, whatever the number."""
        asked = sorted(set(digests))
        lacking: set[Digest] = set()
        for start in range(0, len(asked), ASKED_AT_ONCE):
            body = canonical_json(asked[start : start + ASKED_AT_ONCE])
            answer = self._done(self._ask("POST", "/_/missing", body=body))
            lacking.update(digest(str(each), self.url) for each in _json(answer))
        return lacking

    def place(self, digest: Digest) -> str:
        """See `Store`."""
        return f"{self.url}/cas/{digest}"

    # Records

    def find(self, fingerprint: Fingerprint) -> Record | None:
        """See `Store`. The service has looked at the blobs."""
        answer = self._ask("GET", f"/ac/{fingerprint}")
        if answer.status_code == 404:
            return None
        try:
            return Record.from_json(_json(self._done(answer)), f"record {fingerprint:.12}")
        except FormatError as error:
            log.warning("%s; it is made anew", error)
            return None

    def keep(self, record: Record) -> Record:
        """See `Store`. Blobs that this client added and the service has lost are sent again."""
        body = canonical_json(record.to_json())
        for _ in range(3):
            answer = self._ask("PUT", f"/ac/{record.fingerprint}", body=body)
            lacking = _missing(answer)
            if not lacking:
                return Record.from_json(_json(self._done(answer)), self.url)
            self._send_again(lacking)
        raise BlobNotFound(min(lacking))

    def _send_again(self, lacking: list[Digest]) -> None:
        """Upload what this client added, where its file is still what it was."""
        for each in lacking:
            path = self._added.get(each)
            if path is None or not path.is_file() or digest_of(path) != each:
                raise BlobNotFound(each)
            self._upload(each, path, path.stat().st_size)

    def forget(self, fingerprint: Fingerprint) -> None:
        """See `Store`."""
        self._done(self._ask("DELETE", f"/ac/{fingerprint}"))

    # Heads

    def head(self, slug: str) -> dict[str, Any]:
        """See `Store`."""
        answer = self._ask("GET", f"/_/heads/{slug}")
        if answer.status_code == 404:
            return {}
        value = _json(self._done(answer))
        return value if isinstance(value, dict) else {}

    def set_head(self, slug: str, head: Mapping[str, Any]) -> None:
        """See `Store`."""
        body = canonical_json(head)
        self._done(self._ask("PUT", f"/_/heads/{slug}", body=body))

    def keep_build(self, build: str, summary: Mapping[str, Any]) -> None:
        """See `Store`."""
        self._done(self._ask("PUT", f"/_/builds/{build}", body=canonical_json(summary)))

    # Instances

    def latest(self, target: str) -> Instance | None:
        """See `Store`. The service says, in the same answer, whether every file is here."""
        answer = self._ask("GET", f"{_path(target)}/latest/")
        if answer.status_code == 404:
            return None
        value = _json(self._done(answer))
        try:
            if not value["whole"]:
                return None
            return Instance.from_json(value["instance"], answer.url)
        except (KeyError, TypeError, FormatError) as error:
            log.warning("%s: its latest instance is malformed: %r", target, error)
            return None

    def publish(self, instance: Instance) -> None:
        """See `Store`."""
        body = canonical_json(instance.to_json())
        path = f"{_path(instance.target)}/{quote(instance.name)}"
        answer = self._ask("PUT", path, body=body)
        if lacking := _missing(answer):
            raise BlobNotFound(min(lacking))
        if answer.status_code == 409:
            raise InstanceConflict(_told(answer))
        self._done(answer)

    # Requests

    def _ask(
        self,
        method: str,
        path: str,
        patience: Patience | None = None,
        *,
        body: "bytes | Callable[[], bytes | _Body] | None" = None,
        **options: Any,
    ) -> requests.Response:
        """
        Return the service's answer, trying again while the service is away.

        Args:
            method: Such as GET.
            path: Below the service's URL.
            patience: What is left of a longer undertaking; else that of one request.
            body: The body, or what makes it, anew for each try.
            options: What else requests takes.

        Raises:
            StoreError: It stayed away.
        """
        patience = patience or self._patience()
        url = f"{self.url}{path}"
        while True:
            data = body() if callable(body) else body
            try:
                answer = self._session.request(method, url, data=data, timeout=TIMEOUT, **options)
            except _LOST as error:
                patience.wait(f"{method} {url}: {_short(error)}")
                continue
            except requests.RequestException as error:
                raise StoreError(f"{method} {url}: {_short(error)}") from error
            finally:
                if isinstance(data, _Body):
                    data.close()
            if _is_cut(answer):
                patience.wait(f"{method} {url}: the answer broke off")
            elif answer.status_code in _AWAY:
                patience.wait(_told(answer), answer.headers.get("Retry-After"))
            else:
                return answer

    def _done(self, answer: requests.Response) -> requests.Response:
        """Return *answer* if it says that all is well. Raises StoreError with what it says."""
        if not answer.ok:
            raise StoreError(_told(answer))
        return answer


def _path(target: str) -> str:
    """Return an edit set's path. Raises StoreError where its name is not allowed."""
    if problem := problem_with_target(target):
        raise StoreError(f"{target!r} cannot be in the store: {problem}")
    return f"/{quote(target)}"


class _Body:
    """The bytes of a file on their way, with a bar; requests asks for the length by len()."""

    def __init__(self, file: BinaryIO, size: int, bar: "tqdm[Any]") -> None:
        self._file, self._size, self._bar = file, size, bar

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        """Make requests take it for a stream."""
        return iter(lambda: self.read(_CHUNK), b"")

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(max(size, _CHUNK))
        self._bar.update(len(chunk))
        return chunk

    def close(self) -> None:
        self._file.close()


@contextmanager
def _bar(digest: Digest, total: int, start: int = 0) -> Iterator["tqdm[Any]"]:
    """Give a bar over a transfer: shown for a large one, on a terminal."""
    disable = None if total >= LARGE else True
    with tqdm(desc=digest[:12], total=total, initial=start, unit="B", unit_scale=True,
              leave=False, disable=disable) as bar:  # fmt: skip
        yield bar


def _is_cut(answer: requests.Response) -> bool:
    """Return whether the headers of *answer* broke off: all ours say how long the body is."""
    is_framed = {"Content-Length", "Transfer-Encoding"} & {n.title() for n in answer.headers}
    return answer.status_code not in {204, 304} and not is_framed


def _missing(answer: requests.Response) -> list[Digest]:
    """Return the blobs that the service wants first, if that is what it says."""
    if answer.status_code != 422:
        return []
    value = _json(answer)
    lacking = value.get("missing", []) if isinstance(value, dict) else []
    return [digest(str(each), answer.url) for each in lacking]


def _json(answer: requests.Response) -> Any:
    """Return the JSON of an answer. Raises StoreError where it is none."""
    try:
        return answer.json()
    except ValueError as error:
        raise StoreError(f"{answer.url} answered no JSON; is it the file service?") from error


def _told(answer: requests.Response) -> str:
    """Return what an answer says went wrong."""
    try:
        value = json.loads(answer.text)
        why = f"{value['title']}: {value['detail']}"
    except (ValueError, TypeError, KeyError):
        why = answer.reason or "no reason given"
    return f"{answer.request.method} {answer.url}: {answer.status_code} {why}"[:600]


def _short(error: Exception) -> str:
    """Return the innermost cause of *error*, which says what happened."""
    while error.__context__ is not None and isinstance(error.__context__, Exception):
        error = error.__context__
    return f"{type(error).__name__}: {error}"[:256]
