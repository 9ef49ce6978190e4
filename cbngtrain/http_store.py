"""
The store of a file service (``web/``), over HTTP.

A download goes on where it broke off. What was fetched is verified before anybody sees it.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from tqdm import tqdm

from cbngtrain.canonical import digest_of
from cbngtrain.errors import (
    BlobNotFound,
    DigestMismatch,
    FormatError,
    InstanceConflict,
    StoreError,
)
from cbngtrain.http_client import (
    LOST,
    Body,
    Client,
    Patience,
    done,
    json_of,
    missing_in,
    short,
    told,
)
from cbngtrain.instances import Instance
from cbngtrain.step import (
    Digest,
    Fingerprint,
    Record,
    canonical_json,
    digest,
    problem_with_target,
)

log = logging.getLogger(__name__)

LARGE = 16 << 20  # bytes from which a transfer shows a bar
SMALL = 256 << 10  # bytes up to which a blob is sent without asking first, in one piece
ASKED_AT_ONCE = 20_000  # digests in one question

_CHUNK = 1 << 20  # bytes


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
        self._client = Client(self.url, tokens, patience)
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
        raise DigestMismatch(digest, f"{self.place(digest)} {self._take_out(digest)}")

    def _download(self, digest: Digest, path: Path) -> Digest:
        """Write the blob to *path*, going on where it breaks off; return its sha256."""
        patience = self._client.patience()
        sha256 = hashlib.sha256()
        with path.open("wb") as file:
            while True:
                try:
                    self._receive(digest, file, sha256.update, patience)
                except LOST as error:
                    patience.wait(f"{self.place(digest)}: {short(error)}")
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
        """
        Append to *file* what it lacks of the blob.

        Who knows no ranges sends all of it again, of which what the file has is passed over.
        """
        start = file.tell()
        headers = {"Range": f"bytes={start}-", "If-Range": f'"{digest}"'} if start else {}
        path = f"/cas/{digest}"
        with self._client.ask("GET", path, patience, headers=headers, stream=True) as answer:
            if answer.status_code == 404:
                raise BlobNotFound(digest)
            if answer.status_code == 416:
                return
            if answer.status_code not in {200, 206}:
                raise StoreError(told(answer))
            if coding := answer.headers.get("Content-Encoding"):
                raise StoreError(
                    f"{self.place(digest)} came as {coding[:40]}: what stands between must pass "
                    "the bytes on as they are"
                )
            known = start if answer.status_code == 200 else 0  # bytes that come again
            total = start - known + int(answer.headers.get("Content-Length", 0))
            with _bar(digest, total, start) as bar:
                while chunk := answer.raw.read1(_CHUNK):  # what is there: a break loses nothing
                    new = chunk[known:]
                    known = max(known - len(chunk), 0)
                    if new:
                        file.write(new)
                        update(new)
                        bar.update(len(new))
                        patience.refresh()

    def _take_out(self, digest: Digest) -> str:
        """Have the service remove the blob if it has rotted; return what became of it."""
        answer = self._client.ask("DELETE", f"/cas/{digest}")
        if answer.status_code == 204:
            return "had rotted and was taken out of the store"
        if answer.status_code == 409:
            return "came with other bytes twice, but is whole there: they change on the way"
        return f"came with other bytes twice, and was not taken out: {told(answer)}"

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
        answer = self._client.ask("HEAD", f"/cas/{digest}")
        return answer.ok and answer.headers.get("Content-Length") == str(size)

    def _upload(self, digest: Digest, path: Path, size: int) -> None:
        """Send the blob."""
        with _bar(digest, size) as bar:

            def body() -> "bytes | Body":
                bar.reset()
                return path.read_bytes() if size <= SMALL else Body(path.open("rb"), size, bar)

            done(self._client.ask("PUT", f"/cas/{digest}", body=body))

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """See `Store`. One request, whatever the number."""
        asked = sorted(set(digests))
        lacking: set[Digest] = set()
        for start in range(0, len(asked), ASKED_AT_ONCE):
            body = canonical_json(asked[start : start + ASKED_AT_ONCE])
            answer = done(self._client.ask("POST", "/_/missing", body=body))
            lacking.update(digest(str(each), self.url) for each in json_of(answer))
        return lacking

    def place(self, digest: Digest) -> str:
        """See `Store`."""
        return f"{self.url}/cas/{digest}"

    # Records

    def find(self, fingerprint: Fingerprint) -> Record | None:
        """See `Store`. The service has looked at the blobs."""
        answer = self._client.ask("GET", f"/ac/{fingerprint}")
        if answer.status_code == 404:
            return None
        try:
            return Record.from_json(json_of(done(answer)), f"record {fingerprint:.12}")
        except FormatError as error:
            log.warning("%s; it is made anew", error)
            return None

    def keep(self, record: Record) -> Record:
        """See `Store`. Blobs that this client added and the service has lost are sent again."""
        body = canonical_json(record.to_json())
        for _ in range(3):
            answer = self._client.ask("PUT", f"/ac/{record.fingerprint}", body=body)
            lacking = missing_in(answer)
            if not lacking:
                return Record.from_json(json_of(done(answer)), self.url)
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
        done(self._client.ask("DELETE", f"/ac/{fingerprint}"))

    # Heads

    def head(self, slug: str) -> dict[str, Any]:
        """See `Store`."""
        answer = self._client.ask("GET", f"/_/heads/{slug}")
        if answer.status_code == 404:
            return {}
        value = json_of(done(answer))
        return value if isinstance(value, dict) else {}

    def set_head(self, slug: str, head: Mapping[str, Any]) -> None:
        """See `Store`."""
        body = canonical_json(head)
        done(self._client.ask("PUT", f"/_/heads/{slug}", body=body))

    def keep_build(self, build: str, summary: Mapping[str, Any]) -> None:
        """See `Store`."""
        done(self._client.ask("PUT", f"/_/builds/{build}", body=canonical_json(summary)))

    # Instances

    def latest(self, target: str) -> Instance | None:
        """See `Store`. The service says, in the same answer, whether every file is here."""
        instance, is_whole = self._instance(target, "latest")
        return instance if is_whole else None

    def names(self, target: str) -> list[str]:
        """See `Store`."""
        value = self._folder(target)
        pages = [value] + [
            self._folder(target, number) for number in range(2, value.get("pages", 1) + 1)
        ]
        rows = [row for page in pages for row in page.get("instances", [])]
        return [str(row["name"]) for row in rows if row.get("published")]

    def _folder(self, target: str, number: int = 1) -> dict[str, Any]:
        """Return what the service tells of an edit set; nothing where it knows none."""
        answer = self._client.ask("GET", f"{_path(target)}/?page={number}")
        if answer.status_code == 404:
            return {}
        value = json_of(done(answer))
        return value if isinstance(value, dict) else {}

    def instance(self, target: str, name: str) -> Instance | None:
        """See `Store`."""
        return self._instance(target, quote(name))[0]

    def _instance(self, target: str, name: str) -> tuple[Instance | None, bool]:
        """Return the instance, if it is published, and whether every file it has is here."""
        answer = self._client.ask("GET", f"{_path(target)}/{name}/")
        if answer.status_code == 404:
            return None, False
        value = json_of(done(answer))
        try:
            if value["instance"] is None:
                return None, False
            return Instance.from_json(value["instance"], answer.url), bool(value["whole"])
        except (KeyError, TypeError, FormatError) as error:
            log.warning("%s/%s: the instance is malformed: %r", target, name, error)
            return None, False

    def production(self, target: str) -> dict[str, Any] | None:
        """See `Store`."""
        value = self._folder(target).get("production")
        return value if isinstance(value, dict) else None

    def promote(self, target: str, name: str, about: Mapping[str, Any]) -> dict[str, Any]:
        """See `Store`."""
        body = canonical_json({**about, "instance": name})
        answer = self._client.ask("PUT", f"{_path(target)}/production", body=body)
        value: dict[str, Any] = json_of(done(answer))
        return value

    def publish(self, instance: Instance) -> None:
        """See `Store`."""
        body = canonical_json(instance.to_json())
        path = f"{_path(instance.target)}/{quote(instance.name)}"
        answer = self._client.ask("PUT", path, body=body)
        if lacking := missing_in(answer):
            raise BlobNotFound(min(lacking))
        if answer.status_code == 409:
            raise InstanceConflict(told(answer))
        done(answer)


def _path(target: str) -> str:
    """Return an edit set's path. Raises StoreError where its name is not allowed."""
    if problem := problem_with_target(target):
        raise StoreError(f"{target!r} cannot be in the store: {problem}")
    return f"/{quote(target)}"


@contextmanager
def _bar(digest: Digest, total: int, start: int = 0) -> Iterator["tqdm[Any]"]:
    """Give a bar over a transfer: shown for a large one, on a terminal."""
    disable = None if total >= LARGE else True
    with tqdm(desc=digest[:12], total=total, initial=start, unit="B", unit_scale=True,
              leave=False, disable=disable) as bar:  # fmt: skip
        yield bar
