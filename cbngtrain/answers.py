"""What the dumps' URLs answer, each asked once in a build and brought into canonical form."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cbngtrain import dump
from cbngtrain.canonical import digest_of
from cbngtrain.last_answers import find_answer, forget_answer, keep_answer, path_of
from cbngtrain.locks import one_at_a_time
from cbngtrain.review import ReviewService
from cbngtrain.scratch import Scratch
from cbngtrain.step import FORMAT, Artifact, Fingerprint, Record, fingerprint_of
from cbngtrain.store import Store

EDITS = "edits.xml"  # a source's record: the canonical edit set
EDIT_IDS = "edit-ids.txt"  # a source's record: its EditIDs, one a line

_DOWNLOADS = 4  # dumps at once, however many steps are waited for: the review service is small


@dataclass(frozen=True, slots=True)
class Answer:
    """What a source's URL answered in this build: the record of its canonical form."""

    record: Record
    counts: dump.Counts

    @classmethod
    def of(cls, record: Record) -> "Answer":
        """Return what *record*, a source's, tells."""
        return cls(record, dump.Counts(**record.about["counts"]))


class Answers:
    """The answers of one build."""

    def __init__(self, review: ReviewService, store: Store, scratch: Scratch, max_age: int) -> None:
        """*max_age* is for how many seconds the last answer is not asked for again."""
        self._review = review
        self._store = store
        self._scratch = scratch
        self._max_age = max_age
        self._downloads = threading.BoundedSemaphore(_DOWNLOADS)
        self._answers: dict[str, Answer] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def to(self, url: str) -> Answer:
        """Return what *url* answers. Raises ReviewError, FormatError."""
        with self._locks[url]:
            if url not in self._answers:
                last = find_answer(url, self._store, self._max_age)
                self._answers[url] = Answer.of(last or self._fresh(url))
            return self._answers[url]

    def edit_ids(self, url: str) -> Iterator[int]:
        """Return the EditIDs that *url* answers: from here, if they are here from before."""
        wanted = self.to(url).record.artifact(EDIT_IDS).digest
        path = path_of(url).with_suffix(".ids")
        with self._locks[f"EditIDs of {url}"]:
            if not path.is_file() or digest_of(path) != wanted:
                self._store.fetch(wanted, path)
        return _numbers(path)

    def forget(self, url: str) -> None:
        """Have *url* asked anew."""
        self._answers.pop(url, None)
        forget_answer(url)

    def _fresh(self, url: str) -> Record:
        """Download *url*; the same raw bytes are not parsed again."""
        with self._downloads, self._scratch.directory("download") as directory:
            raw = directory / "raw"
            self._review.download(url, raw)
            parts = {
                "format": FORMAT,
                "source": {"canonical": dump.VERSION, "raw": digest_of(raw)},
            }
            key = fingerprint_of(parts)
            with one_at_a_time(key, url):
                record = self._store.find(key) or self._canonical(raw, url, key, parts)
            keep_answer(url, record)
        return record

    def _canonical(self, raw: Path, url: str, key: Fingerprint, parts: dict[str, Any]) -> Record:
        """Bring the dump *raw* into canonical form and keep its record."""
        edits, ids = raw.with_name(EDITS), raw.with_name(EDIT_IDS)
        counts, edit_ids = dump.canonicalise(raw, edits, url)
        with ids.open("w", encoding="ascii") as file:
            file.writelines(f"{edit_id}\n" for edit_id in edit_ids)
        artifacts = []
        for path in (edits, ids):
            added = self._store.add(path)
            artifacts.append(Artifact(path.name, added, added, path.stat().st_size))
        about = {"url": url, "counts": {**asdict(counts)}}
        return self._store.keep(Record(key, tuple(artifacts), None, parts, about=about))


def _numbers(path: Path) -> Iterator[int]:
    """Yield the whole numbers in *path*, one a line."""
    with path.open(encoding="ascii") as file:
        yield from map(int, file)
