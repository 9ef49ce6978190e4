"""
A dump of the review service → an edit set in canonical form.

The canonical form is UTF-8 XML: edits by ascending EditID, an element a line, no white space
between elements, no attributes, volatile fields left out, ``isVandalism`` as ``true`` or
``false``, and an empty previous text for a page's creation. The same edits give the same bytes,
in whatever order and however indented they came.

A dump is read edit by edit: what is held in memory is one edit and a row of numbers for each.
"""

import gzip
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from xml.parsers import expat
from xml.sax.saxutils import escape

from tqdm import tqdm

from cbngtrain.errors import FormatError

VERSION = 1  # of the canonical form: raise it when the same dump gives other bytes

TRUE = frozenset({"t", "true", "y", "yes", "1"})  # the core's, any case
FALSE = frozenset({"f", "false", "n", "no", "0"})

NUMBERS = frozenset(
    {
        "timestamp",  # Unix time, as are the other times
        "user_edit_count",
        "user_distinct_pages",
        "user_warns",
        "user_reg_time",
        "page_made_time",
        "num_recent_edits",
        "num_recent_reversions",
    }
)
"""Fields that hold a count or a time: empty, or a whole number from 0 to 2³¹ - 1."""

_VOLATILE = re.compile(r"editdb/lastupdated|reviewinterface/reviewers.*")
_NUMBER = re.compile(r"\s*[0-9]+\s*")
_LARGEST = 2**31 - 1  # the core reads numbers with atoi into 32 bits
_DEEPEST = 8  # levels of elements; real dumps have 4
_CHUNK = 1 << 18  # bytes


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
        if self.left_out:
            reasons = ", ".join(f"{n} without {why}" for why, n in sorted(self.left_out.items()))
            phrase += f"; left out: {reasons}"
        return phrase


@dataclass(slots=True)
class _Element:
    """An element: its name as written, and either text or elements."""

    name: str
    text: list[str] = field(default_factory=list)
    children: list["_Element"] = field(default_factory=list)

    def child(self, name: str) -> "_Element | None":
        """Return the first child of that name in lower case."""
        return next((e for e in self.children if e.name.lower() == name), None)

    def value(self, name: str) -> str | None:
        """Return the text of the child of that name in lower case."""
        element = self.child(name)
        return None if element is None else "".join(element.text)


def canonicalise(raw: Path, path: Path, url: str) -> tuple[Counts, list[int]]:
    """
    Write the canonical form of the dump *raw*, which may be gzipped, to *path*.

    Args:
        raw: The dump.
        path: Where the canonical form goes; what stands there afterwards if an error is raised
            is of no use.
        url: Where the dump is from, for messages.

    Returns:
        What it held, and its EditIDs, ascending.

    Raises:
        FormatError: The dump is not well-formed up to ``</WPEditSet>``, has no edits, has an
            EditID twice or not at all, an ``isVandalism`` that is neither true nor false, or a
            number that is none.
    """
    unsorted = path.with_name(path.name + ".unsorted")
    tally: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    places: dict[int, tuple[int, int]] = {}
    with unsorted.open("w+b") as pieces:
        for edit in _edits(raw, url):
            edit_id = _edit_id(edit, url)
            if edit_id in places:
                raise FormatError(url, f"EditID {edit_id}", "is there twice")
            if why := _why_left_out(edit):
                left_out[why] += 1
                continue
            piece = _canonical_edit(edit, f"EditID {edit_id}", url, tally)
            places[edit_id] = (pieces.tell(), len(piece))
            pieces.write(piece)
        if not places:
            raise FormatError(url, "", "has no edits to train or try on")
        edit_ids = sorted(places)
        _write_sorted(pieces, [places[edit_id] for edit_id in edit_ids], path)
    unsorted.unlink()
    return Counts(len(places), tally["vandalism"], tally["creations"], dict(left_out)), edit_ids


def _write_sorted(pieces: BinaryIO, places: list[tuple[int, int]], path: Path) -> None:
    """Write the pieces at *places* (offset and size) to *path*, in that order."""
    with path.open("wb") as out:
        out.write(b'<?xml version="1.0" encoding="UTF-8"?>\n<WPEditSet>\n')
        for offset, size in places:
            pieces.seek(offset)
            out.write(pieces.read(size))
        out.write(b"</WPEditSet>\n")


def _edit_id(edit: _Element, url: str) -> int:
    """Return the edit's EditID."""
    text = edit.value("editid")
    where = f"line {edit.text[0]}"
    if text is None:
        raise FormatError(url, where, "an edit without EditID")
    if not re.fullmatch(r"\s*[0-9]{1,18}\s*", text):
        raise FormatError(url, where, f"EditID {text[:40]!r} is not a number")
    return int(text)


def _why_left_out(edit: _Element) -> str:
    """Return what the edit lacks to be trained or tried on, or nothing."""
    if edit.child("isvandalism") is None:
        return "isVandalism"
    current = edit.child("current")
    if current is None or current.child("text") is None:
        return "current text"
    return ""


def _canonical_edit(edit: _Element, where: str, url: str, tally: Counter[str]) -> bytes:
    """Return the edit in canonical form, counted in *tally*."""
    is_vandalism = (edit.value("isvandalism") or "").strip().lower()
    if is_vandalism not in TRUE | FALSE:
        raise FormatError(url, where, f"isVandalism is {is_vandalism[:40]!r}, not true or false")
    tally["vandalism"] += is_vandalism in TRUE
    for element in edit.children:
        if element.name.lower() == "isvandalism":
            element.text = ["true" if is_vandalism in TRUE else "false"]
    tally["creations"] += _complete_creation(edit)
    return "".join(["<WPEdit>\n", *_lines(edit, "", where, url), "</WPEdit>\n"]).encode()


def _complete_creation(edit: _Element) -> bool:
    """Give the edit an empty previous text if it has none; return whether it had none."""
    previous = edit.child("previous")
    if previous is None:
        previous = _Element("previous")
        edit.children.append(previous)
    if previous.child("text") is not None:
        return False
    previous.children.append(_Element("text"))
    return True


def _lines(parent: _Element, prefix: str, where: str, url: str) -> Iterator[str]:
    """Yield the canonical lines of the children of *parent*, whose path is *prefix*."""
    for element in parent.children:
        name = element.name
        path = prefix + name.lower()
        if _VOLATILE.fullmatch(path):
            continue
        if element.children:
            yield f"<{name}>\n"
            yield from _lines(element, f"{path}/", where, url)
            yield f"</{name}>\n"
        else:
            text = "".join(element.text)
            if name.lower() in NUMBERS:
                _check_number(name, text, where, url)
            yield f"<{name}>{escape(text, {chr(13): '&#13;'})}</{name}>\n"


def _check_number(name: str, text: str, where: str, url: str) -> None:
    """Raise FormatError unless *text* is empty or a number that the core can hold."""
    if text.strip() and not (_NUMBER.fullmatch(text) and int(text[:40]) <= _LARGEST):
        raise FormatError(url, where, f"{name} is {text[:40]!r}, not a number from 0 to {_LARGEST}")


def _edits(raw: Path, url: str) -> Iterator[_Element]:
    """
    Yield the edits of a dump; the text of each is the line at which it begins.

    Raises:
        FormatError: The dump is not well-formed or not an edit set.
    """
    reader = _Reader(url)
    with raw.open("rb") as packed, _unpacked(packed) as file, _bar(raw) as bar:
        try:
            while chunk := file.read(_CHUNK):
                reader.feed(chunk)
                bar.update(packed.tell() - bar.n)
                yield from reader.taken()
            reader.close()
        except (EOFError, gzip.BadGzipFile, OSError) as error:
            raise FormatError(url, "", f"cannot be unpacked: {error}") from error
    yield from reader.taken()


def _unpacked(file: BinaryIO) -> BinaryIO | gzip.GzipFile:
    """Return *file*, or what is in it if it is gzipped."""
    is_gzipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return gzip.open(file) if is_gzipped else file


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
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.buffer_size = _CHUNK
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype

    def feed(self, chunk: bytes) -> None:
        """Read on."""
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
            what = "it ends too early" if is_last else expat.ErrorString(error.code)
            problem = f"not well-formed to </WPEditSet>: {what}"
            raise FormatError(self._url, f"line {error.lineno}", problem) from error

    def _refuse(self, problem: str) -> FormatError:
        return FormatError(self._url, f"line {self._parser.CurrentLineNumber}", problem)

    def _refuse_doctype(self, *_: object) -> None:
        raise self._refuse("a document type, which no dump has and which could expand without end")

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        wanted = ("wpeditset", "wpedit")
        depth = len(self._open)
        if depth < 2 and name.lower() != wanted[depth]:
            raise self._refuse(f"<{name[:40]}> where only <{wanted[depth]}> can stand")
        if depth > _DEEPEST:
            raise self._refuse(f"<{name[:40]}> is nested too deeply for an edit")
        element = _Element(name)
        if depth > 1:
            self._open[-1].children.append(element)
        else:
            element.text.append(str(self._parser.CurrentLineNumber))
        self._open.append(element)

    def _end(self, _name: str) -> None:
        element = self._open.pop()
        if len(self._open) == 1:
            self._done.append(element)

    def _text(self, text: str) -> None:
        if len(self._open) > 2:
            self._open[-1].text.append(text)
