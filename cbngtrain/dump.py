"""
A dump of the review service → an edit set in canonical form.

The canonical form is UTF-8 XML: edits by ascending EditID, an element a line, nothing else between
elements, no attributes, volatile fields left out, ``isVandalism`` as ``true`` or ``false``, numbers
without blanks or leading zeros, and an empty previous text for a page's creation. The same edits
give the same bytes, in whatever order and however indented they came.

A dump is read edit by edit: what is held in memory is one edit, and three numbers for each.
"""

import codecs
import gzip
import re
import tempfile
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, BinaryIO
from xml.parsers import expat
from xml.sax.saxutils import escape

from tqdm import tqdm

from cbngtrain.errors import FormatError
from cbngtrain.places import Places

VERSION = 2  # of the canonical form: raise it when the same dump gives other bytes

TRUE = frozenset({"t", "true", "y", "yes", "1"})  # the core's, any case
FALSE = frozenset({"f", "false", "n", "no", "0"})

NUMBERS = frozenset(
    {
        "timestamp",  # Unix time, as are the other times
        "user_edit_count",
        "user_distinct_pages",
        "user_top_count",
        "user_warns",
        "user_reg_time",
        "page_made_time",
        "num_recent_edits",
        "num_recent_reversions",
    }
)
"""Fields that hold a count or a time: empty, or a whole number from 0 to 2³¹ - 1."""

_VOLATILE = re.compile(r"editdb/lastupdated|reviewinterface/reviewers.*")
_LEFT_OUT_IF_EMPTY = frozenset({"editdb", "reviewinterface"})  # hold the volatile fields
_VALUES = NUMBERS | {"editid", "isvandalism", "text"}  # never hold elements
_BLANK = " \t\r\n"  # XML's
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LARGEST = 2**31 - 1  # the core reads numbers with atoi into 32 bits
_DEEPEST = 8  # levels of elements; real dumps have 4
_CHUNK = 1 << 18  # bytes
_NOT_WELL_FORMED = "not well-formed UTF-8 XML to </WPEditSet>"

_CUT = frozenset(
    expat.errors.codes[message]
    for message in (
        expat.errors.XML_ERROR_NO_ELEMENTS,
        expat.errors.XML_ERROR_PARTIAL_CHAR,
        expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
        expat.errors.XML_ERROR_UNCLOSED_TOKEN,
    )
)
"""What expat says at the end of a file whose end is missing."""


@dataclass(frozen=True, slots=True)
class Counts:
    """
    What a dump held.

    Attributes:
        edits: Kept.
        vandalism: Of those, vandalism.
        creations: Of those, pages' creations: they get an empty previous text.
        left_out: Reason → edits left out for it.
    """

    edits: int
    vandalism: int
    creations: int
    left_out: Mapping[str, int]

    def __str__(self) -> str:
        """The counts in one phrase."""
        phrase = f"{self.edits} edits, {self.vandalism} vandalism"
        return f"{phrase}; left out: {_told(self.left_out)}" if self.left_out else phrase


def canonicalise(raw: Path, path: Path, url: str) -> tuple[Counts, Sequence[int]]:
    """
    Write the canonical form of the dump *raw*, which may be gzipped, to *path*.

    Args:
        raw: The dump.
        path: Where the canonical form goes; nothing is written there if the dump is refused.
        url: Where the dump is from, for messages.

    Returns:
        What it held, and its EditIDs, ascending.

    Raises:
        FormatError: The dump is not well-formed up to ``</WPEditSet>``, has no edits, has an
            EditID twice or not at all, an ``isVandalism`` that is neither true nor false, or a
            number that is none.
    """
    tally: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    places = Places()
    with tempfile.TemporaryFile(dir=path.parent) as unsorted:
        for edit in _edits(raw, url):
            edit_id = _edit_id(edit, url)
            place = _Place(url, f"EditID {edit_id}")
            if why := _why_left_out(edit, place):
                left_out[why] += 1
                places.add((edit_id, 0, 0))
                continue
            text = _canonical_edit(edit, place, tally)
            places.add((edit_id, unsorted.tell(), len(text)))
            unsorted.write(text)
        _refuse_twice(places, url)
        kept = array("q", (edit_id for edit_id, _, size in places if size))
        if not kept:
            told = f"; left out: {_told(left_out)}" if left_out else ""
            raise FormatError(url, "", f"has no edits to train or try on{told}")
        _write_sorted(unsorted, places, path)
    return Counts(len(kept), tally["vandalism"], tally["creations"], dict(left_out)), kept


def _refuse_twice(places: Places, url: str) -> None:
    """Raise FormatError if an EditID is there twice, be its edits kept or left out."""
    for (edit_id, _, _), (next_id, _, _) in pairwise(places):
        if edit_id == next_id:
            raise FormatError(url, f"EditID {edit_id}", "is there twice")


def _told(left_out: Mapping[str, int]) -> str:
    """Return how many edits were left out, and why, as a phrase."""
    return ", ".join(f"{n} without {why}" for why, n in sorted(left_out.items()))


def _write_sorted(unsorted: IO[bytes], places: Places, path: Path) -> None:
    """Write the edits at *places* to *path*, by EditID; those that are left out have no length."""
    with path.open("wb") as out:
        out.write(b'<?xml version="1.0" encoding="UTF-8"?>\n<WPEditSet>\n')
        for _, offset, size in places:
            unsorted.seek(offset)
            out.write(unsorted.read(size))
        out.write(b"</WPEditSet>\n")


# An edit ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in a dump something is, for messages: a line or an EditID."""

    url: str
    where: str

    def error(self, problem: str) -> FormatError:
        """Return what to raise for *problem*."""
        return FormatError(self.url, self.where, problem)


@dataclass(slots=True)
class _Element:
    """An element: its name as written, the line it begins in, and either text or elements."""

    name: str
    line: int
    text: list[str] = field(default_factory=list)
    children: list["_Element"] = field(default_factory=list)

    @property
    def value(self) -> str:
        """Its text."""
        return "".join(self.text)

    @value.setter
    def value(self, text: str) -> None:
        self.text = [text]

    def child(self, name: str, place: _Place) -> "_Element | None":
        """Return the child of that name in lower case; raises FormatError if there are two."""
        found = [element for element in self.children if element.name.lower() == name]
        if len(found) > 1:
            raise place.error(f"has <{found[0].name}> twice")
        return found[0] if found else None


def _edit_id(edit: _Element, url: str) -> int:
    """Return the edit's EditID, which is put in canonical form."""
    place = _Place(url, f"line {edit.line}")
    element = edit.child("editid", place)
    if element is None:
        raise place.error("an edit without EditID")
    text = element.value.strip(_BLANK)
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise place.error(f"EditID {text[:40]!r} is not a number")
    element.value = str(int(text))
    return int(text)


def _why_left_out(edit: _Element, place: _Place) -> str:
    """Return what the edit lacks to be trained or tried on, or nothing."""
    verdict = edit.child("isvandalism", place)
    if verdict is None:
        return "isVandalism"
    verdict.value = _verdict(verdict.value, place)
    current = edit.child("current", place)
    if current is None or current.child("text", place) is None:
        return "current text"
    return ""


def _verdict(text: str, place: _Place) -> str:
    """Return ``true`` or ``false``; raises FormatError for what the core would take for false."""
    word = text.strip(_BLANK).lower()
    if word not in TRUE | FALSE:
        raise place.error(f"isVandalism is {word[:40]!r}, not true or false")
    return "true" if word in TRUE else "false"


def _canonical_edit(edit: _Element, place: _Place, tally: Counter[str]) -> bytes:
    """Return the edit, which has all it needs, in canonical form; count it in *tally*."""
    verdict = edit.child("isvandalism", place)
    tally["vandalism"] += verdict is not None and verdict.value == "true"
    tally["creations"] += _complete_creation(edit, place)
    return "".join(["<WPEdit>\n", *_lines(edit, "", place), "</WPEdit>\n"]).encode()


def _complete_creation(edit: _Element, place: _Place) -> bool:
    """Give the edit an empty previous text if it has none; return whether it had none."""
    previous = edit.child("previous", place)
    if previous is None:
        previous = _Element("previous", edit.line)
        edit.children.append(previous)
    if previous.child("text", place) is not None:
        return False
    if previous.value.strip(_BLANK):
        raise place.error("<previous> holds text where only elements can stand")
    previous.children.append(_Element("text", edit.line))
    return True


def _lines(parent: _Element, prefix: str, place: _Place) -> Iterator[str]:
    """Yield the canonical lines of the children of *parent*, whose path is *prefix*."""
    for element in parent.children:
        name = element.name
        path = prefix + name.lower()
        if _VOLATILE.fullmatch(path):
            continue
        if element.children:
            inside = list(_lines(element, f"{path}/", place))
            if inside or path not in _LEFT_OUT_IF_EMPTY:
                yield "".join([f"<{name}>\n", *inside, f"</{name}>\n"])
        elif path not in _LEFT_OUT_IF_EMPTY or element.value.strip(_BLANK):
            is_number = name.lower() in NUMBERS
            text = _number(element, place) if is_number else element.value
            yield f"<{name}>{escape(text, {chr(13): '&#13;'})}</{name}>\n"


def _number(element: _Element, place: _Place) -> str:
    """Return a number that the core can hold in canonical form; empty stays empty."""
    text = element.value.strip(_BLANK)
    if not text:
        return ""
    if not re.fullmatch(r"0*[0-9]{1,10}", text) or int(text[-10:]) > _LARGEST:
        raise place.error(f"{element.name} is {text[:40]!r}, not a number from 0 to {_LARGEST}")
    return str(int(text[-10:]))


# Reading ---------------------------------------------------------------------------------------


def _edits(raw: Path, url: str) -> Iterator[_Element]:
    """
    Yield the edits of a dump.

    Raises:
        FormatError: The dump is not well-formed or not an edit set.
    """
    if not raw.stat().st_size:
        raise FormatError(url, "", "is empty")
    reader = _Reader(url)
    with raw.open("rb") as packed, _unpacked(packed) as file, _bar(raw) as bar:
        while chunk := _read(file, url):
            reader.feed(chunk)
            bar.update(packed.tell() - bar.n)
            yield from reader.taken()
    reader.close()
    yield from reader.taken()


def _unpacked(file: BinaryIO) -> BinaryIO | gzip.GzipFile:
    """Return *file*, or what is in it if it is gzipped."""
    is_gzipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return gzip.open(file) if is_gzipped else file


def _read(file: BinaryIO | gzip.GzipFile, url: str) -> bytes:
    """Return the next chunk of *file*; raises FormatError if it cannot be unpacked."""
    try:
        return file.read(_CHUNK)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FormatError(url, "", f"cannot be unpacked: {error}") from error


def _bar(raw: Path) -> Any:
    """Return a progress bar over the bytes of *raw*, on a terminal."""
    size = raw.stat().st_size
    return tqdm(total=size, desc="edits", unit="B", unit_scale=True, disable=None, leave=False)


class _Reader:
    """Takes a dump in chunks and gives its edits, one at a time in memory."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open: list[_Element] = []  # from the root to where we are
        self._done: list[_Element] = []
        self._parser = expat.ParserCreate("utf-8")  # whatever a dump says of itself
        self._parser.buffer_text = True
        self._parser.buffer_size = _CHUNK
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype

    def feed(self, chunk: bytes) -> None:
        """Read on."""
        is_first = self._parser.CurrentByteIndex < 0
        if is_first and chunk.startswith(_UTF_16):  # expat would follow it
            raise FormatError(self._url, "line 1", f"{_NOT_WELL_FORMED}: it is UTF-16")
        self._parse(chunk, is_last=False)

    def close(self) -> None:
        """The dump has ended: raise FormatError if it is not whole."""
        self._parse(b"", is_last=True)

    def taken(self) -> list[_Element]:
        """Return the edits that have ended since the last call."""
        done, self._done = self._done, []
        return done

    def _parse(self, chunk: bytes, *, is_last: bool) -> None:
        try:
            self._parser.Parse(chunk, is_last)
        except expat.ExpatError as error:
            is_cut = is_last and error.code in _CUT
            what = "it ends too early" if is_cut else expat.ErrorString(error.code)
            problem = f"{_NOT_WELL_FORMED}: {what}"
            raise FormatError(self._url, f"line {error.lineno}", problem) from error

    def _refuse(self, problem: str) -> FormatError:
        return FormatError(self._url, f"line {self._parser.CurrentLineNumber}", problem)

    def _refuse_doctype(self, *_: object) -> None:
        raise self._refuse("a document type, which no dump has and which could expand without end")

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        depth = len(self._open)
        level = ("WPEditSet", "WPEdit")[depth : depth + 1]
        if level and name.lower() != level[0].lower():
            raise self._refuse(f"<{name[:40]}> where only <{level[0]}> can stand")
        if depth > _DEEPEST:
            raise self._refuse(f"<{name[:40]}> is nested too deeply for an edit")
        if depth > 1 and (name.lower() == "wpedit" or self._open[-1].name.lower() in _VALUES):
            raise self._refuse(f"<{name[:40]}> inside <{self._open[-1].name[:40]}>")
        element = _Element(name, self._parser.CurrentLineNumber)
        if depth > 1:
            self._open[-1].children.append(element)
        self._open.append(element)

    def _end(self, _name: str) -> None:
        element = self._open.pop()
        if element.children and element.value.strip(_BLANK):
            raise self._refuse(f"text beside the elements in <{element.name[:40]}>")
        if len(self._open) == 1:
            self._done.append(element)

    def _text(self, text: str) -> None:
        if len(self._open) > 2:
            self._open[-1].text.append(text)
        elif text.strip(_BLANK):
            raise self._refuse(f"text where only elements can stand: {text.strip(_BLANK)[:40]!r}")
