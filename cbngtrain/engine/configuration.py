"""
The configuration directory: libconfig files whose values know where they stand.

The syntax is libconfig's: settings ``name = value;`` in groups ``{ … }``, lists ``( … )`` of
values, arrays ``[ … ]`` of scalars; strings that stand side by side are one.
"""

import codecs
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, Self

from cbngtrain.engine.errors import FormatError
from cbngtrain.engine.tokens import Token, tokens_of

ROOT_FILE = "cluebotng.conf"


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
        """The string under *key*; bytes beyond ASCII are its characters 128 to 255."""
        return str(self._value(key, str, "a string", default))

    def data(self, key: str, default: bytes = b"") -> bytes:
        """The string under *key* as the bytes that stand in the file."""
        return self.text(key, default.decode("latin-1")).encode("latin-1")

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


def load(directory: Path) -> Block:
    """
    Return the settings of ``cluebotng.conf`` in *directory*, with all that it includes.

    Raises:
        FormatError: A file cannot be read or understood; names the file and the line.
    """
    root = directory / ROOT_FILE
    try:
        return _Parser(tokens_of(root, directory), root).whole()
    except RecursionError as error:
        raise FormatError(root, "", "there are too many lists in lists") from error


_ESCAPE = re.compile(r"""\\x..|\\[\\'"abfnrtv]""")


def _unescaped(text: str) -> str:
    """The string that is spelled so; a backslash that begins no escape is itself."""
    return _ESCAPE.sub(lambda match: codecs.decode(match[0], "unicode-escape"), text)


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "string": _unescaped,
    "integer": lambda text: int(text, 0),  # which refuses 012: is that 12, or 10?
    "float": float,
    "hex": lambda text: int(text, 16),
    "boolean": lambda text: text.lower() == "true",
}
"""Kind of token → its value."""


class _Parser:
    """Reads tokens from left to right, by recursive descent."""

    def __init__(self, tokens: list[Token], root: Path) -> None:
        self._tokens = tokens
        self._root = root
        self._at = 0
        self._names: list[str] = []

    def whole(self) -> Block:
        block = self._settings()
        if self._at < len(self._tokens):
            self._refuse("a setting")
        return block

    def _settings(self) -> Block:
        block = Block(".".join(self._names))
        while name := self._take("name"):
            key, place = name.text, (name.path, name.line)
            self._expect("=", ":")
            self._names.append(key)
            value = self._value()
            self._names.pop()
            if key in block:
                block.refuse(key, f"is set again in {place[0]}, line {place[1]}")
            block.places[key] = place
            block[key] = value
            self._take(";", ",")
        return block

    def _value(self) -> Any:
        opening = self._take("{", "(", "[")
        if not opening:
            return self._scalar()
        if opening.kind == "(":
            return tuple(self._items(")", self._value))
        if opening.kind == "[":
            return self._items("]", self._scalar)
        block = self._settings()
        self._expect("}")
        return block

    def _items(self, closing: str, item: Callable[[], Any]) -> list[Any]:
        items = []
        while not self._take(closing):
            items.append(item())
            if not self._take(","):
                self._expect(closing)
                break
        return items

    def _scalar(self) -> Any:
        token = self._take(*_SCALARS) or self._refuse("a value")
        try:
            value = _SCALARS[token.kind](token.text)
            while token.kind == "string" and (more := self._take("string")):
                value += _unescaped(more.text)
        except ValueError as error:
            kind = "string" if token.kind == "string" else "number"
            problem = f"there is a {kind} that is none: {str(error)[:80]}"
            raise FormatError(token.path, f"line {token.line}", problem) from error
        return value

    def _take(self, *kinds: str) -> Token | None:
        """The next token, taken, if it is of these kinds."""
        if self._at == len(self._tokens) or self._tokens[self._at].kind not in kinds:
            return None
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, *signs: str) -> Token:
        return self._take(*signs) or self._refuse(" or ".join(signs))

    def _refuse(self, wanted: str) -> NoReturn:
        """Raise the error that tells what stands here, and what should."""
        if self._at == len(self._tokens):
            raise FormatError(self._root, "", f"ends where {wanted} should be")
        token = self._tokens[self._at]
        problem = f'there is "{token.text[:40]}" where {wanted} should be'
        raise FormatError(token.path, f"line {token.line}", problem)
