"""
Chunks of edit sets: where a file of ``<WPEdit>``s can be cut.

A chunk is a run of whole edits, named by where its bytes are, so that processes can parse
chunks of one file independently: what stands between two ``</WPEdit>`` is well-formed by itself
exactly where the whole file is. That holds

- while ``</WPEdit>`` is nothing but an end tag; where comments or CDATA might hold one
  (``<!``, ``<?``) all that follows is one chunk, in which expat finds the ends of the edits;
- where edits lie right in the edit set. Whoever parses a chunk finds out whether they do: if
  more than the edit set is open at its end, it and all that follows are one chunk too.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cbngtrain.engine.errors import FormatError

ROOT = "wpeditset"  # the outermost element, in lower case

_END = re.compile(rb"</wpedit\s*>", re.IGNORECASE)
_ROOT = re.compile(rb"(?:\xef\xbb\xbf)?(?:<\?[^>]*\?>)?\s*<([^\s/>]+)")
# `re` finds these in half of the time of `bytes.find` (measured).
_DECLARATION, _INSTRUCTION = re.compile(b"<!"), re.compile(rb"<\?")
_BLOCK = 1 << 16  # bytes in which the outermost element begins
_LONGEST_END = 1 << 10  # bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """
    A run of whole edits of a file: its bytes from *start* to *end*, from *line* on.

    *root* is the name of the file's outermost element, as it is spelled there.
    """

    start: int
    end: int
    line: int
    root: str
    is_last: bool = False

    def with_all_that_follows(self, file_size: int) -> "Chunk":
        """From where the chunk begins to the end of the file of *file_size* bytes."""
        return replace(self, end=file_size, is_last=True)


def chunks_of(path: Path, file_size: int, size: int) -> Iterator[Chunk]:
    """
    The edits of a file of *file_size* bytes in runs of at least *size* bytes, or to the end.

    Where less than half of that would be left it belongs to the last one.
    """
    start, line = 0, 1
    root = _root(path)
    for end, lines in _cuts(path, file_size, size):
        yield Chunk(start, end, line, root, is_last=end == file_size)
        start, line = end, line + lines


def _root(path: Path) -> str:
    """The name of the outermost element, if the file begins with it or a declaration."""
    with path.open("rb") as file:
        head = file.read(_BLOCK)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise FormatError(path, "line 1", "is not encoded in UTF-8")
    match = _ROOT.match(head)
    return match[1].decode("utf-8", "replace") if match else ROOT


def _cuts(path: Path, file_size: int, size: int) -> Iterator[tuple[int, int]]:
    """Where chunks end, and how many lines are in each."""
    with path.open("rb") as file:
        start = 0
        data = b""
        while block := file.read(max(size, len(data))):
            data += block
            before = len(data) - len(block)
            if _has_other_markup(data, max(0, before - 1), at_start=start == 0):
                break
            cut = _last_end(data, before)
            if start + cut > file_size - size // 2:
                break
            if cut:
                yield start + cut, data.count(b"\n", 0, cut)
                data = data[cut:]
                start += cut
    if start < file_size:
        yield file_size, 0


def _has_other_markup(data: bytes, begin: int, *, at_start: bool) -> bool:
    """Whether there may be, from *begin* on, an ``</WPEdit>`` that ends no edit."""
    first = 5 if at_start else 0  # the XML declaration, after a byte order mark at most
    return bool(_DECLARATION.search(data, begin) or _INSTRUCTION.search(data, max(first, begin)))


def _last_end(data: bytes, begin: int) -> int:
    """Where the last ``</WPEdit>`` ends; 0 if there is none. Before *begin* none ends."""
    ends = _END.findall(data, max(0, begin - _LONGEST_END))
    return data.rindex(ends[-1]) + len(ends[-1]) if ends else 0
