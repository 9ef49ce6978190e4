"""
Edit sets: a file of ``<WPEdit>``s becomes edits with typed properties, chunk by chunk.

A chunk is a run of whole edits, named by where its bytes are, so that processes can parse
chunks of one file independently: between the edit set's start tag and its end tag, what stands
between two ``</WPEdit>`` is well-formed by itself exactly where the whole file is. That holds
only while ``</WPEdit>`` is nothing but an end tag; where comments or CDATA might hold one
(``<!``, ``<?``) expat finds the ends of the edits.
"""

import codecs
import re
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from cbngtrain.engine.configuration import Block
from cbngtrain.engine.errors import FormatError

CORE_READS = 1024  # bytes: the native core's position in the file is a multiple of them
INT_LIMIT = 2**31  # the core keeps numbers in 32 bits
SHOWN = 40  # bytes of a value in a message

ROOT = "wpeditset"
EDIT = "wpedit"
NO_PROPERTY = frozenset({"current", "previous", "common"})
"""Elements that set no property of their own."""

TRUE = frozenset({"t", "true", "y", "yes", "1"})
FALSE = frozenset({"f", "false", "n", "no", "0"})

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_END = re.compile(rb"</wpedit\s*>", re.IGNORECASE)
_ROOT = re.compile(rb"(?:\xef\xbb\xbf)?(?:<\?[^>]*\?>)?\s*<([^\s/>]+)")
_BLOCK = 1 << 16  # bytes in which the outermost element begins
_LONGEST_END = 1 << 10  # bytes
MANY = 64  # bytes for each one of a kind, below which these are many
_ATOI = re.compile(r"[ \t\n\v\f]*([+-]?\d+)")
_ATOF = re.compile(r"[ \t\n\v\f]*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")


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


@dataclass(frozen=True, slots=True)
class Edit:
    """
    An edit as it stands in a file.

    Attributes:
        properties: Property → value.
        path: The file.
        offset: Where the edit begins in it, in bytes.
    """

    properties: dict[str, Any]
    path: Path
    offset: int

    @property
    def place(self) -> str:
        """``EditID 4711``, or the line where the edit begins if it has none, for messages."""
        if name := self.properties.get("editid"):
            return f"EditID {_shown(name.decode())}"
        with self.path.open("rb") as file:
            line = file.read(self.offset).count(b"\n") + 1
        return f"line {line}"


class EditSet:
    """
    A file of edits.

    Args:
        path: The file.
        types: Property, or its last part → ``int``, ``float``, ``bool`` or ``string``.
    """

    def __init__(self, path: Path, types: Mapping[str, str]) -> None:
        self.path = path
        self.types = types
        try:
            self.size = path.stat().st_size
        except OSError as error:
            raise FormatError(path, "", f"cannot be read: {error.strerror}") from error
        if not path.is_file():
            raise FormatError(path, "", "is not a file")
        if not self.size:
            raise FormatError(path, "", "is empty")

    def chunks(self, size: int) -> Iterator[Chunk]:
        """The edits of the file in runs of at least *size* bytes, or to the end."""
        start, line = 0, 1
        root = self._root()
        for end, lines in self._cuts(size):
            yield Chunk(start, end, line, root, is_last=end == self.size)
            start, line = end, line + lines

    def _root(self) -> str:
        """The name of the outermost element, if the file begins with it or a declaration."""
        with self.path.open("rb") as file:
            head = file.read(_BLOCK)
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise FormatError(self.path, "line 1", "is not encoded in UTF-8")
        match = _ROOT.match(head)
        return match[1].decode("utf-8", "replace") if match else ROOT

    def _cuts(self, size: int) -> Iterator[tuple[int, int]]:
        """Where chunks end, and how many lines are in each."""
        with self.path.open("rb") as file:
            start = 0
            data = b""
            while block := file.read(max(size, len(data))):
                data += block
                if _has_other_markup(data, at_start=start == 0):
                    break
                cut = _last_end(data, len(data) - len(block))
                if cut:
                    yield start + cut, data.count(b"\n", 0, cut)
                    data = data[cut:]
                    start += cut
        if start < self.size:
            yield self.size, 0

    def parse(self, chunk: Chunk) -> list[Edit]:
        """
        The edits of a chunk.

        Raises:
            FormatError: It is not well-formed, or a value is not of its type; names the line
                or the EditID.
        """
        with self.path.open("rb") as file:
            file.seek(chunk.start)
            data = file.read(chunk.end - chunk.start)
        return _ChunkParser(self, chunk, data).edits()


def edit_set(path: Path, configuration: Block) -> EditSet:
    """The edits of *path* with the property types of the configuration's ``xml_edit_parser``."""
    types = configuration.group("xml_edit_parser").only("proptypes").group("proptypes")
    for name in types:
        if types.text(name) not in {"int", "datetime", "float", "bool", "string"}:
            types.refuse(name, f'there is no type "{types.text(name)}"')
    return EditSet(path, {name: types.text(name) for name in types})


def _has_other_markup(data: bytes, *, at_start: bool) -> bool:
    """Whether there may be an ``</WPEdit>`` that ends no edit."""
    first = 5 if at_start else 0  # the XML declaration, after a byte order mark at most
    return _has_after_less(data, b"!", 0) or _has_after_less(data, b"?", first)


def _has_after_less(data: bytes, byte: bytes, begin: int) -> bool:
    """Whether a byte that is rarer than ``<`` comes after one: ten times as fast as ``in``."""
    if data.count(byte) > len(data) // MANY:
        return data.find(b"<" + byte, begin) >= 0
    at = data.find(byte, begin + 1)
    while at > 0 and data[at - 1] != ord("<"):
        at = data.find(byte, at + 1)
    return at > 0


def _last_end(data: bytes, begin: int) -> int:
    """Where the last ``</WPEdit>`` ends; 0 if there is none. Before *begin* none ends."""
    ends = _END.findall(data, max(0, begin - _LONGEST_END))
    return data.rindex(ends[-1]) + len(ends[-1]) if ends else 0


class _ChunkParser:
    """Collects the edits of one chunk from what expat calls."""

    def __init__(self, edits: EditSet, chunk: Chunk, data: bytes) -> None:
        self._set = edits
        self._chunk = chunk
        self._data = data
        # A chunk from the middle of the file is parsed inside an outermost element.
        self._prefix = f"<{chunk.root}>".encode() if chunk.start else b""
        self._edits: list[Edit] = []
        self._path: list[str] = []  # the open elements inside an edit
        self._text: list[str] = []  # the text since the last start tag
        self._values: dict[str, tuple[str, str]] = {}  # property → its type and its text
        self._offset = 0
        self._is_open = False
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.buffer_size = 1 << 15
        self._parser.StartElementHandler = self._open
        self._parser.EndElementHandler = self._close
        self._parser.CharacterDataHandler = self._text.append
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.XmlDeclHandler = self._declaration

    def edits(self) -> list[Edit]:
        """The edits of the chunk."""
        try:
            self._parser.Parse(self._prefix, False)
            self._parser.Parse(self._data, self._chunk.is_last)
        except expat.ExpatError as error:
            problem = expat.ErrorString(error.code)
            raise self._error(error.lineno, f"is not well-formed: {problem}") from error
        return self._edits

    def _error(self, line: int, problem: str) -> FormatError:
        return FormatError(self._set.path, f"line {self._chunk.line + line - 1}", problem)

    def _here(self, problem: str) -> FormatError:
        return self._error(self._parser.CurrentLineNumber, problem)

    def _doctype(self, *_: object) -> None:
        raise self._here("has a document type, which edit sets have not")

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding and encoding.lower() not in {"utf-8", "us-ascii", "ascii"}:
            raise self._here(f"is encoded in {encoding}, not in UTF-8")

    def _open(self, name: str, _attributes: object) -> None:
        self._text.clear()
        name = _lower(name)
        if not self._is_open:
            self._is_open = True
            if name != ROOT:
                raise self._here(f"is not an edit set: it begins with <{name}>")
        elif name == EDIT:
            self._values = {}
            self._path.clear()
            self._offset = self._place()
        elif name != ROOT:
            self._path.append(name)

    def _close(self, name: str) -> None:
        name = _lower(name)
        if name == EDIT:
            self._finish()
        elif name != ROOT:
            path = self._path
            if path:
                path.pop()
            if name not in NO_PROPERTY:
                self._set_property([*path, name])

    def _set_property(self, path: list[str]) -> None:
        """Set the property of the element that ends; under ``common``, two."""
        value = "".join(self._text)
        names = ["_".join(path)]
        if path[0] == "common":
            rest = "_".join(path[1:])
            names = [f"current_{rest}", f"previous_{rest}"]
        types = self._set.types
        for name in names:
            kind = types.get(name) or types.get(path[-1]) or "string"
            self._values[name] = (kind, value)

    def _finish(self) -> None:
        """The edit ends: give its values their types and the edit its place in the file."""
        properties: dict[str, Any] = {}
        edit = Edit(properties, self._set.path, self._offset)
        if "editid" in self._values:  # for messages about the others
            properties["editid"] = self._values["editid"][1].encode()
        for name, (kind, value) in self._values.items():
            try:
                properties[name] = _CONVERSIONS[kind](value)
            except ValueError as error:
                raise FormatError(self._set.path, edit.place, f"{name}: {error}") from error
        end = self._chunk.start + self._data.index(b">", self._place() - self._chunk.start)
        properties["input_xml_file_pos"] = end // CORE_READS * CORE_READS
        properties["input_xml_file_size"] = self._set.size
        self._edits.append(edit)

    def _place(self) -> int:
        """Where in the file the tag begins that expat is at, in bytes."""
        return self._chunk.start + self._parser.CurrentByteIndex - len(self._prefix)


def _lower(name: str) -> str:
    """The name in lower case; the native core knows of ASCII alone."""
    return name.lower() if name.isascii() else name.translate(_LOWER)


def _string(value: str) -> bytes:
    """The text without carriage returns, which the native core drops."""
    return value.replace("\r", "").encode()


def _shown(value: str) -> str:
    """The beginning of a value, on one line."""
    return " ".join(value[:SHOWN].split())


def _integer(value: str) -> int:
    """What C's ``atoi`` makes of it, where that is well-defined and makes sense in an edit."""
    if not value.strip():
        return 0
    match = _ATOI.match(value)
    if match is None:
        raise ValueError(f'"{_shown(value)}" is not a number')
    digits = match[1]
    if len(digits) > SHOWN or not 0 <= int(digits) < INT_LIMIT:
        raise ValueError(f"{_shown(digits)} is not between 0 and {INT_LIMIT - 1}")
    return int(digits)


def _number(value: str) -> float:
    if not value.strip():
        return 0.0
    match = _ATOF.match(value)
    if match is None:
        raise ValueError(f'"{_shown(value)}" is not a number')
    return float(np.float32(match[1]))


def _boolean(value: str) -> bool:
    word = value.lower()
    if word not in TRUE | FALSE:
        raise ValueError(f'"{_shown(value)}" is neither true nor false')
    return word in TRUE


_CONVERSIONS: Mapping[str, Callable[[str], Any]] = {
    "string": _string,
    "int": _integer,
    "datetime": _integer,
    "float": _number,
    "bool": _boolean,
}
