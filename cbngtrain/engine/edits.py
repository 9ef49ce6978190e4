"""Edit sets: a file of ``<WPEdit>``s becomes edits with typed properties, chunk by chunk."""

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

from cbngtrain.engine.chunks import ROOT, Chunk, chunks_of
from cbngtrain.engine.configuration import Block
from cbngtrain.engine.errors import FormatError
from cbngtrain.engine.property_types import CONVERSIONS, converted, shown

CORE_READS = 1024  # bytes: the native core's position in the file is a multiple of them

DEEPEST = 100  # elements in each other: a property's name has those of all around it

EDIT = "wpedit"
NO_PROPERTY = frozenset({"current", "previous", "common"})
"""Elements that set no property of their own."""

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


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
        name = self.properties.get("editid", b"")
        if text := name.decode() if isinstance(name, bytes) else str(name):
            return f"EditID {shown(text)}"
        with self.path.open("rb") as file:
            line = file.read(self.offset).count(b"\n") + 1
        return f"line {line}"


class EditSet:
    """
    A file of edits.

    Args:
        path: The file.
        types: Property, or its last part → its type, of `CONVERSIONS`.
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
        return chunks_of(self.path, self.size, size)

    def parse(self, chunk: Chunk) -> list[Edit] | None:
        """
        The edits of a chunk, if those before it were chunks too.

        Returns:
            None where the chunk's end is none: more than the edit set is open there, so that
            the chunk goes on to the end of the file.

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
        if types.text(name) not in CONVERSIONS:
            types.refuse(name, f'there is no type "{types.text(name)}"')
    return EditSet(path, {name: types.text(name) for name in types})


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

    def edits(self) -> list[Edit] | None:
        """The edits of the chunk; None where only the rest of the file closes what is open."""
        try:
            self._parser.Parse(self._prefix, False)
            self._parser.Parse(self._data, self._chunk.is_last)
        except expat.ExpatError as error:
            problem = expat.ErrorString(error.code)
            raise self._error(error.lineno, f"is not well-formed: {problem}") from error
        return self._edits if self._chunk.is_last or self._ends_in_the_edit_set() else None

    def _ends_in_the_edit_set(self) -> bool:
        """Whether nothing but the outermost element is open."""
        try:
            self._parser.Parse(f"</{self._chunk.root}>", True)
        except expat.ExpatError:
            return False
        return True

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
            if len(self._path) == DEEPEST:
                raise self._here(f"has elements more than {DEEPEST} deep")
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
                properties[name] = converted(value, kind)
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
