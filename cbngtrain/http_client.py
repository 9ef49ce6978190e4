"""
Asking a file service (``web/``), and asking it again where it was away or overloaded.

Every request of ours may be repeated: reading, deleting, and putting what its address names. So all
are repeated, within bounds.
"""

import json
import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO

import requests
import urllib3
from tqdm import tqdm

from cbngtrain.errors import StoreError
from cbngtrain.step import Digest, digest

log = logging.getLogger(__name__)

TRIES = 9  # of one request, or of one transfer without a byte of progress: waits 46 to 92 s in all
PATIENCE = 120.0  # seconds that one request may spend waiting between its tries
TIMEOUT = (10, 60)  # seconds to connect, and between two bytes
NOTICED = 3  # tries without an answer, after which it is told: one is a connection grown old

LOST = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
)
"""What is raised where an answer, or a part of it, did not come."""

_CHUNK = 1 << 20  # bytes
_AWAY = frozenset({408, 425, 429, 502, 503, 504})  # statuses after which trying again helps


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


class Client:
    """
    A file service, as one who may write sees it.

    That it is away is told once. One that never answered, as its URL is wrong perhaps, is waited
    for once: where a request gave up, those after it try but once, until one is answered.
    """

    def __init__(self, url: str, tokens: str, patience: Callable[[], Patience]) -> None:
        """
        Args:
            url: Where the service is.
            tokens: What may write there; of several, with commas between, the first is sent.
            patience: Makes what one request may take.
        """
        self.url = url
        self.patience = patience
        self._misses = 0  # tries since the last answer
        self._has_answered = self._is_given_up = False
        self._session = requests.Session()
        self._session.auth = _Bearer(tokens.split(",", maxsplit=1)[0].strip())
        self._session.headers["Accept"] = "application/json"
        self._session.headers["Accept-Encoding"] = "identity"  # ranges and digests are of the bytes
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=32)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def ask(
        self,
        method: str,
        path: str,
        patience: Patience | None = None,
        *,
        body: "bytes | Callable[[], bytes | Body] | None" = None,
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
            StoreError: It stayed away, or sends to another address: a redirect is not followed, as
                what was put would be taken for a question, and the token is for this service alone.
        """
        patience = patience or self.patience()
        if self._is_given_up:
            patience.tries = 1
        url = f"{self.url}{path}"
        while True:
            data = body() if callable(body) else body
            try:
                answer = self._session.request(
                    method, url, data=data, timeout=TIMEOUT, allow_redirects=False, **options
                )
            except LOST as error:
                self._wait(patience, f"{method} {url}: {short(error)}")
                continue
            except requests.RequestException as error:
                raise StoreError(f"{method} {url}: {short(error)}") from error
            finally:
                if isinstance(data, Body):
                    data.close()
            if answer.is_redirect:
                raise StoreError(f"{told(answer)}: it sends to {answer.headers['Location'][:200]}")
            if _is_cut(answer):
                self._wait(patience, f"{method} {url}: the answer broke off")
            elif answer.status_code in _AWAY:
                self._wait(patience, told(answer), answer.headers.get("Retry-After"))
            else:
                self._misses, self._is_given_up, self._has_answered = 0, False, True
                return answer

    def _wait(self, patience: Patience, problem: str, retry_after: str | None = None) -> None:
        """Wait before the next try. Raises StoreError with the *problem* if there is none left."""
        self._misses += 1
        if self._misses == NOTICED:
            log.warning("%s; the file service is waited for", problem)
        try:
            patience.wait(problem, retry_after)
        except StoreError:
            self._is_given_up = not self._has_answered
            raise


class Body:
    """The bytes of a file on their way, with a bar; requests asks for the length by len()."""

    def __init__(self, file: BinaryIO, size: int, bar: "tqdm[Any]") -> None:
        self._file, self._size, self._bar = file, size, bar

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        """Make requests take it for a stream."""
        return iter(lambda: self.read(_CHUNK), b"")

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, and move the bar."""
        chunk = self._file.read(max(size, _CHUNK))
        self._bar.update(len(chunk))
        return chunk

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _is_cut(answer: requests.Response) -> bool:
    """Return whether the headers of *answer* broke off: all ours say how long the body is."""
    is_framed = {"Content-Length", "Transfer-Encoding"} & {n.title() for n in answer.headers}
    return answer.status_code not in {204, 304} and not is_framed


def done(answer: requests.Response) -> requests.Response:
    """Return *answer* if it says that all is well. Raises StoreError with what it says."""
    if not answer.ok:
        raise StoreError(told(answer))
    return answer


def json_of(answer: requests.Response) -> Any:
    """Return the JSON of an answer. Raises StoreError where it is none."""
    try:
        return answer.json()
    except ValueError as error:
        raise StoreError(f"{answer.url} answered no JSON; is it the file service?") from error


def told(answer: requests.Response) -> str:
    """Return what an answer says went wrong."""
    try:
        value = json.loads(answer.text)
        why = f"{value['title']}: {value['detail']}"
    except (ValueError, TypeError, KeyError):
        why = answer.reason or "no reason given"
    return f"{answer.request.method} {answer.url}: {answer.status_code} {why}"[:600]


def short(error: Exception) -> str:
    """Return the innermost cause of *error*, which says what happened."""
    while error.__context__ is not None and isinstance(error.__context__, Exception):
        error = error.__context__
    return f"{type(error).__name__}: {error}"[:256]


def missing_in(answer: requests.Response) -> list[Digest]:
    """Return the blobs that the service wants first, if that is what it says."""
    if answer.status_code != 422:
        return []
    value = json_of(answer)
    lacking = value.get("missing", []) if isinstance(value, dict) else []
    return [digest(str(each), answer.url) for each in lacking]
