"""
The configuration directory: libconfig files whose values know where they stand.

Syntax and values are libconf's, but for strings with bytes that are not UTF-8, which are kept. The
includes are resolved here, because the native core takes them relative to the working directory,
and a configuration should work from anywhere.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, Self

import libconf

from cbngtrain.engine.errors import FormatError

ROOT_FILE = "cluebotng.conf"
MAX_INCLUDE_DEPTH = 10  # libconfig's own limit

_INCLUDE = re.compile(r'\s*@include\s+"([^"]+)"\s*;?\s*(?:(?:#|//).*)?$')
_PLACE = re.compile(r"in ('.*'), row (\d+)")


_NOT_UTF_8 = "surrogateescape"
"""What becomes of bytes that are not UTF-8: they are kept, as they are in the names of files."""


class Block(dict[str, Any]):
    """
    A group of settings, which knows its name and the place of each setting.

    Attributes:
        name: What the group is called, for messages.
        places: Setting → the file and the line it stands in.
    """

    def __init__(self, name: str = "") -> None:
        super().__init__()
        self.name = name
        self.places: dict[str, tuple[Path, int]] = {}

    def only(self, *options: str) -> Self:
        """Return the block itself if it has no settings but *options* and ``module``."""
        for key in self:
            if key not in {*options, "module"}:
                self.refuse(key, "there is no such option")
        return self

    def refuse(self, key: str, problem: str) -> NoReturn:
        """Raise the error that names this setting (or the block, if it has none such)."""
        path, line = self.places.get(key) or next(iter(self.places.values()), (Path(ROOT_FILE), 0))
        place = f"line {line}" if line else ""
        what = f"{self.name}.{key}" if self.name else key
        raise FormatError(path, place, f"{what}: {problem}")

    def text(self, key: str, default: str | None = None) -> str:
        """The string under *key*."""
        return str(self._value(key, str, "a string", default))

    def data(self, key: str, default: bytes = b"") -> bytes:
        """The string under *key* as the bytes that stand in the file."""
        return encoded(self.text(key)) if key in self else default

    def number(self, key: str, default: float | None = None) -> float:
        """The number under *key*; a whole number will do."""
        return float(self._value(key, (int, float), "a number", default))

    def integer(self, key: str, default: int | None = None) -> int:
        """The whole number under *key*."""
        return int(self._value(key, int, "a whole number", default))

    def group(self, key: str) -> "Block":
        """The group under *key*."""
        group: Block = self._value(key, Block, "a group { … }", None)
        return group

    def items_of(self, key: str) -> tuple[Any, ...]:
        """The elements of the list or array under *key*."""
        return tuple(self._value(key, (tuple, list), "a list ( … )", None))

    def texts(self, key: str) -> tuple[str, ...]:
        """The strings of the list under *key*."""
        items = self.items_of(key)
        if not all(isinstance(item, str) for item in items):
            self.refuse(key, "must be a list of strings")
        return items

    def strings(self, key: str) -> dict[str, str]:
        """The group under *key*, in which every setting is a string."""
        group = self.group(key)
        return {name: group.text(name) for name in group}

    def _value(self, key: str, kind: Any, description: str, default: Any) -> Any:
        if key not in self:
            if default is None:
                self.refuse(key, f"is missing: {description}")
            return default
        value = self[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            self.refuse(key, f"must be {description}")
        return value


def encoded(text: str) -> bytes:
    """The bytes of a string as they stand in its file, UTF-8 or not."""
    return text.encode("utf-8", _NOT_UTF_8)


def load(directory: Path) -> Block:
    """
    Return the settings of ``cluebotng.conf`` in *directory*, with all that it includes.

    Raises:
        FormatError: A file cannot be read or understood; names the file and the line.
    """
    root = directory / ROOT_FILE
    try:
        tokens = libconf.TokenStream(_tokens(root, directory, ()))
        block: Block = _Parser(tokens, root).parse()
    except libconf.ConfigParseError as error:
        raise _as_format_error(root, error) from error
    return block


_STRING = re.compile(r'"(?:[^"\\]|\\[\s\S])*"')
_ESCAPE = re.compile(r'\\(?:[xX](?P<hex>[0-9A-Fa-f]{2})|(?P<letter>[nrtf\\"]))')
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "\\": "\\", '"': '"'}


class _String(libconf.Token):  # type: ignore[misc]  # libconf has no types
    """
    A string as the native core's libconfig reads it.

    That knows fewer escapes than libconf does, and leaves the backslash of any other; NULs go.
    """

    @property
    def value(self) -> str:
        text = _ESCAPE.sub(_unescaped, self.text[1:-1]).replace("\0", "")
        return text if text.isascii() else text.encode("latin-1").decode("utf-8", _NOT_UTF_8)


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match["hex"], 16)) if match["hex"] else _ESCAPED[match["letter"]]


_FREQUENT = ("string", ",", ";", "=", ":", "{", "}", "(", ")")
"""Kinds of tokens that begin like no other kind."""


class _Tokenizer(libconf.Tokenizer):  # type: ignore[misc]  # libconf has no types
    """The tokenizer of libconf, which tries kind after kind: here the frequent ones first."""

    token_map = sorted(
        [(_String, "string", _STRING), *libconf.Tokenizer.token_map],  # the first "string" counts
        key=lambda kind: kind[1] not in _FREQUENT,
    )


def _tokens(path: Path, directory: Path, parents: tuple[Path, ...]) -> Iterator[Any]:
    """The tokens of a file, those of its includes in their places."""
    tokenizer = _Tokenizer(str(path))
    pending: list[str] = []
    for number, line in enumerate(_lines(path), start=1):
        if included := _INCLUDE.match(line):
            yield from _tokenized(tokenizer, "".join(pending))
            target = _included(included[1], path, number, directory, (*parents, path))
            yield from _tokens(target, directory, (*parents, path))
            pending = ["\n"]  # so that the tokenizer's line numbers stay right
        else:
            pending.append(line)
    yield from _tokenized(tokenizer, "".join(pending))


def _tokenized(tokenizer: libconf.Tokenizer, text: str) -> Iterator[Any]:
    """The tokens of *text*; libconf takes ``.`` and ``012`` for numbers, which Python refuses."""
    try:
        yield from tokenizer.tokenize(text)
    except ValueError as error:
        problem = f"there is a number that is none: {str(error)[:80]}"
        raise FormatError(Path(tokenizer.filename), f"line {tokenizer.row}", problem) from error


def _lines(path: Path) -> list[str]:
    """The lines of a file, a character per byte: what is beyond ASCII is passed through."""
    try:
        return [line + "\n" for line in path.read_bytes().decode("latin-1").split("\n")]
    except OSError as error:
        raise FormatError(path, "", f"cannot be read: {error.strerror}") from error


def _included(name: str, path: Path, line: int, directory: Path, parents: tuple[Path, ...]) -> Path:
    """
    The file that an include names.

    It is looked for in the configuration directory, which also stands for a leading ``conf/``,
    and then in the working directory.
    """
    candidates = (directory / name, directory / name.removeprefix("conf/"), Path(name))
    target = next((each for each in candidates if each.is_file()), None)
    if target is None:
        raise FormatError(path, f"line {line}", f'there is no file "{name}" to include')
    if target.resolve() in {parent.resolve() for parent in parents}:
        raise FormatError(path, f"line {line}", f'"{name}" is included by itself')
    if len(parents) > MAX_INCLUDE_DEPTH:
        raise FormatError(path, f"line {line}", f"more than {MAX_INCLUDE_DEPTH} includes deep")
    return target


_path = cache(Path)  # hundreds of settings stand in a handful of files


class _Parser(libconf.Parser):  # type: ignore[misc]  # libconf has no types
    """The parser of libconf, which keeps the place of each setting and refuses a second one."""

    def __init__(self, tokens: Any, path: Path) -> None:
        super().__init__(tokens)
        self._path = path
        self._names: list[str] = []

    def value(self) -> Any:
        text = self.string()  # first, as most values are: libconf asks for kind after kind
        return super().value() if text is None else text

    def setting_list_or_empty(self) -> Block:
        block = Block(".".join(self._names))
        while (name := self.tokens.peek()) is not None and name.type == "name":
            place = (_path(name.filename), name.row)
            self._names.append(name.text)
            key, value = self.setting()
            self._names.pop()
            if key in block:
                block.refuse(key, f"is set again in {place[0]}, line {place[1]}")
            block.places[key] = place
            block[key] = value
        return block


def _as_format_error(root: Path, error: Exception) -> FormatError:
    """The error of libconf, with the file and the line in our words."""
    message = str(error)
    if place := _PLACE.search(message):
        path, line = Path(place[1].strip("'")), int(place[2])
        problem = message[: place.start()].rstrip(" ,") + message[place.end() :]
        return FormatError(path, f"line {line}", problem)
    return FormatError(root, "", message)
