"""
Edit sets: a file of ``<WPEdit>``s becomes edits with typed properties, chunk by chunk.

A chunk is a run of whole edits, named by where its bytes are, so that processes can parse
chunks of one file independently: between the edit set's start tag and its end tag, what stands
between two ``</WPEdit>`` is well-formed by itself exactly where the whole file is. That holds
only while ``</WPEdit>`` is nothing but an end tag; where comments or CDATA might hold one
(``<!``, ``<?``) expat finds the ends of the edits.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

from cbngtrain.engine.configuration import Block
from cbngtrain.engine.errors import EngineError, FormatError

CORE_READS = 1024  # bytes: the native core's position in the file is a multiple of them
INT_LIMIT = 2**31  # the core keeps numbers in 32 bits

ROOT = "wpeditset"
EDIT = "wpedit"
NO_PROPERTY = frozenset({"current", "previous", "common"})
"""Elements that set no property of their own."""

TRUE = frozenset({"t", "true", "y", "yes", "1"})
FALSE = frozenset({"f", "false", "n", "no", "0"})

_END = re.compile(rb"</wpedit\s*>", re.IGNORECASE)
_ROOT = re.compile(rb"(?:\xef\xbb\xbf)?(?:<\?[^>]*\?>)?\s*<([^\s/>]+)")
_BLOCK = 1 << 16  # bytes in which the outermost element begins
_LONGEST_END = 1 << 10  # bytes
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
    """An edit as it stands in the file: its properties, and the line it begins in."""

    properties: dict[str, Any]
    line: int

    @property
    def place(self) -> str:
        """``EditID 4711``, or the line where it has none, for messages."""
        name = self.properties.get("editid")
        return f"EditID {name.decode('utf-8')}" if name else f"line {self.line}"


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
            match = _ROOT.match(file.read(_BLOCK))
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
        return _ChunkParser(self, chunk).edits_of(data)


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
    return b"<!" in data or b"<?" in data[first:]


def _last_end(data: bytes, begin: int) -> int:
    """Where the last ``</WPEdit>`` ends; 0 if there is none. Before *begin* none ends."""
    ends = _END.findall(data, max(0, begin - _LONGEST_END))
    return data.rindex(ends[-1]) + len(ends[-1]) if ends else 0


class _ChunkParser:
    """Collects the edits of one chunk from what expat calls."""

    def __init__(self, edits: EditSet, chunk: Chunk) -> None:
        self.set = edits
        self.chunk = chunk
        self.edits: list[Edit] = []
        self._path: list[str] = []  # the open elements inside an edit
        self._text: list[str] = []  # the text since the last start tag
        self._properties: dict[str, Any] = {}
        self._line = 0
        self._depth = 0
        self._added = 0  # bytes put before the chunk's own

    def edits_of(self, data: bytes) -> list[Edit]:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.buffer_size = 1 << 20
        parser.StartElementHandler = self._open
        parser.EndElementHandler = self._close
        parser.CharacterDataHandler = self._text.append
        parser.StartDoctypeDeclHandler = self._doctype
        parser.XmlDeclHandler = self._declaration
        self._parser = parser
        self._data = data
        try:
            if self.chunk.start:
                prefix = f"<{self.chunk.root}>".encode()
                self._added = len(prefix)
                parser.Parse(prefix, False)
            parser.Parse(data, self.chunk.is_last)
        except expat.ExpatError as error:
            problem = expat.ErrorString(error.code)
            raise self._error(error.lineno, f"is not well-formed: {problem}") from error
        return self.edits

    def _error(self, line: int, problem: str) -> FormatError:
        return FormatError(self.set.path, f"line {self.chunk.line + line - 1}", problem)

    def _here(self, problem: str) -> FormatError:
        return self._error(self._parser.CurrentLineNumber, problem)

    def _doctype(self, *_: object) -> None:
        raise self._here("has a document type, which edit sets have not")

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding and encoding.lower() not in {"utf-8", "us-ascii", "ascii"}:
            raise self._here(f"is encoded in {encoding}, not in UTF-8")

    def _open(self, name: str, _attributes: object) -> None:
        self._text.clear()
        name = name.lower()
        self._depth += 1
        if self._depth == 1 and name != ROOT:
            raise self._here(f"is not an edit set: it begins with <{name}>")
        if name == EDIT:
            self._properties = {}
            self._path.clear()
            self._line = self.chunk.line + self._parser.CurrentLineNumber - 1
        elif name != ROOT:
            self._path.append(name)

    def _close(self, name: str) -> None:
        name = name.lower()
        self._depth -= 1
        if name == ROOT:
            return
        if name == EDIT:
            self._finish()
            return
        if self._path:
            self._path.pop()
        if name not in NO_PROPERTY:
            self._set(name)

    def _set(self, name: str) -> None:
        """Set the property of the element that ends; under ``common``, two."""
        value = "".join(self._text).replace("\r", "")
        parts = [*self._path, name]
        if parts[0] == "common":
            rest = "_".join(parts[1:])
            self._add(name, f"current_{rest}", value)
            self._add(name, f"previous_{rest}", value)
        else:
            self._add(name, "_".join(parts), value)

    def _add(self, name: str, full_name: str, value: str) -> None:
        types = self.set.types
        kind = types.get(full_name) or types.get(name) or "string"
        self._properties[full_name] = (kind, value)

    def _finish(self) -> None:
        """The edit ends: give its values their types and the edit its place in the file."""
        typed: dict[str, Any] = {}
        raw = self._properties
        edit = Edit(typed, self._line)
        if "editid" in raw:
            typed["editid"] = raw["editid"][1].encode()
        for name, (kind, value) in raw.items():
            try:
                typed[name] = _CONVERSIONS[kind](value)
            except ValueError as error:
                raise FormatError(self.set.path, edit.place, f"{name}: {error}") from error
        typed["input_xml_file_pos"] = self._position()
        typed["input_xml_file_size"] = self.set.size
        self.edits.append(edit)

    def _position(self) -> int:
        """Where the native core has read to when the edit ends: to a multiple of its reads."""
        index = self._parser.CurrentByteIndex - self._added
        end = self._data.index(b">", index)
        return (self.chunk.start + end) // CORE_READS * CORE_READS


def _integer(value: str) -> int:
    """What C's ``atoi`` makes of it, where that is well-defined and makes sense in an edit."""
    if not value.strip():
        return 0
    match = _ATOI.match(value)
    if match is None:
        raise ValueError(f'"{value[:40]}" is not a number')
    number = int(match[1])
    if not 0 <= number < INT_LIMIT:
        raise ValueError(f"{number} is not between 0 and {INT_LIMIT - 1}")
    return number


def _number(value: str) -> float:
    if not value.strip():
        return 0.0
    match = _ATOF.match(value)
    if match is None:
        raise ValueError(f'"{value[:40]}" is not a number')
    return float(match[1])


def _boolean(value: str) -> bool:
    word = value.lower()
    if word not in TRUE | FALSE:
        raise ValueError(f'"{value[:40]}" is neither true nor false')
    return word in TRUE


_CONVERSIONS = {
    "string": str.encode,
    "int": _integer,
    "datetime": _integer,
    "float": _number,
    "bool": _boolean,
}

__all__ = ["Chunk", "Edit", "EditSet", "EngineError", "edit_set"]
