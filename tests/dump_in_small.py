"""A dump of two edits, its variations, and what becomes of a dump."""

import re
import tempfile
from pathlib import Path

import pytest

from cbngtrain.dump import Counts, canonicalise
from cbngtrain.errors import FormatError
from tests.conftest import dump, edit

URL = "https://review.example/dump"

ONE = edit(1, "text")
WHOLE = dump([ONE, edit(2, "other", vandalism=True)])


def canonical(raw: str | bytes) -> tuple[Counts, list[int], bytes]:
    """What `canonicalise` returns, and what it wrote."""
    with tempfile.TemporaryDirectory() as directory:
        source, path = Path(directory, "raw"), Path(directory, "edits.xml")
        source.write_bytes(raw.encode() if isinstance(raw, str) else raw)
        counted, edit_ids = canonicalise(source, path, URL)
        return counted, list(edit_ids), path.read_bytes()


def counts(raw: str | bytes) -> Counts:
    """How many edits of which kind a dump holds."""
    return canonical(raw)[0]


def text(raw: str | bytes) -> str:
    """A dump's canonical form."""
    return canonical(raw)[2].decode()


def refusal(raw: str | bytes) -> str:
    """What is said of a dump that is refused."""
    with pytest.raises(FormatError) as error:
        canonical(raw)
    return str(error.value)


def without(tag: str, of: str = ONE) -> str:
    """The edit without that element."""
    return re.sub(f"<{tag}>.*?</{tag}>", "", of, count=1, flags=re.DOTALL)


def with_value(tag: str, value: str, of: str = ONE) -> str:
    """The edit with another value of that element."""
    return re.sub(f"<{tag}>.*?</{tag}>", f"<{tag}>{value}</{tag}>", of, count=1)
