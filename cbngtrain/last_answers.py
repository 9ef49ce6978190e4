"""
What each URL answered last: the record of the answer, and when it was asked.

Kept in the working folder, so that a build shortly after another does not ask again; what is lost
or unreadable here is asked for anew.
"""

import json
import time
from contextlib import suppress
from pathlib import Path

from cbngtrain.scratch import DIRECTORY
from cbngtrain.step import Fingerprint, Record, fingerprint_of
from cbngtrain.store import Store


def find_answer(url: str, store: Store, max_age: int) -> Record | None:
    """Return the last answer of *url*, if it is less than *max_age* seconds old and stored."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        asked = json.loads(path_of(url).read_bytes())
        if time.time() - asked["at"] < max_age:
            return store.find(Fingerprint(asked["fingerprint"]))
    return None


def keep_answer(url: str, record: Record) -> None:
    """Note that *url* was asked just now, and answered with *record*."""
    asked = {"url": url, "at": time.time(), "fingerprint": record.fingerprint}
    path = path_of(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asked), encoding="ascii")


def forget_answer(url: str) -> None:
    """Have *url* asked anew."""
    path_of(url).unlink(missing_ok=True)


def path_of(url: str) -> Path:
    """Return where it is kept."""
    return DIRECTORY / ".asked" / fingerprint_of({"url": url})
