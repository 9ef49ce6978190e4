"""
The tokens of configuration files: libconfig's, and those of included files in their places.

One expression finds all kinds of them, as every start of a program waits for some thousands.
"""

import re
from pathlib import Path
from typing import NamedTuple

from cbngtrain.engine.errors import FormatError

MAX_INCLUDE_DEPTH = 10  # libconfig's own limit

_INCLUDE = re.compile(
    r'^[^\S\n]*@include[^\S\n]+"([^"\n]+)"[^\S\n]*;?[^\S\n]*(?:#.*|//.*)?$', re.MULTILINE
)
_TOKEN = re.compile(
    r"""(?: \s+ | \#.* | //.* | /\*(?s:.*?)\*/ )*+
    (?: "(?P<string> [^"\\]*+ (?: \\.[^"\\]*+ )*+ )"
      | (?P<sign> [,;=:(){}\[\]] )
      | (?P<float> [-+]?\d*\.\d*(?:[eE][-+]?\d+)? | [-+]?\d+[eE][-+]?\d+ )
      | (?P<hex> 0[xX][0-9A-Fa-f]+ )L?L?
      | (?P<integer> [-+]?\d+ )L?L?
      | (?P<boolean> (?i:true|false)\b )
      | (?P<name> [A-Za-z*][-A-Za-z0-9_*]* )
      | (?P<other> (?s:.) )
      | \Z
    )""",
    re.VERBOSE,
)


class Token(NamedTuple):
    """
    A token.

    Attributes:
        kind: A sign, such as ``{``, is a kind of its own; else a group of the expression.
        text: What stands there, of a string without its quotation marks.
        path: The file that it stands in.
        line: The line in it, from 1; of a string over several lines the last one.
    """

    kind: str
    text: str
    path: Path
    line: int


def tokens_of(path: Path, directory: Path, parents: tuple[Path, ...] = ()) -> list[Token]:
    """
    Return the tokens of a file of the configuration in *directory*.

    What is no token is of the kind ``other``.

    Raises:
        FormatError: A file cannot be read or found.
    """
    text = _text(path)
    found: list[Token] = []
    start = 0
    for include in _INCLUDE.finditer(text):
        found += _tokens(path, text, start, include.start())
        line = text.count("\n", 0, include.start()) + 1
        target = _included(include[1], path, line, directory, (*parents, path))
        found += tokens_of(target, directory, (*parents, path))
        start = include.end()
    return found + _tokens(path, text, start, len(text))


def _tokens(path: Path, text: str, start: int, end: int) -> list[Token]:
    """The tokens of a part of a file."""
    found = []
    at, line = 0, 1
    for match in _TOKEN.finditer(text, start, end):
        line += text.count("\n", at, match.end())
        at = match.end()
        if kind := match.lastgroup:
            spelled = match[kind]
            found.append(Token(spelled if kind == "sign" else kind, spelled, path, line))
    return found


def _text(path: Path) -> str:
    """The text of a file, a character per byte: what is beyond ASCII is passed through."""
    try:
        return path.read_bytes().decode("latin-1")
    except OSError as error:
        raise FormatError(path, "", f"cannot be read: {error.strerror}") from error


def _included(name: str, path: Path, line: int, directory: Path, parents: tuple[Path, ...]) -> Path:
    """
    The file that an include names.

    The native core looks for it in the working directory. Here it is first looked for in the
    configuration directory, which also stands for a leading ``conf/``: a configuration should
    work from anywhere.
    """
    candidates = (directory / name, directory / name.removeprefix("conf/"), Path(name))
    target = next((each for each in candidates if each.is_file()), None)
    if target is None:
        raise FormatError(path, f"line {line}", f'there is no file "{name}" to include')
    if any(target.samefile(parent) for parent in parents):
        raise FormatError(path, f"line {line}", f'"{name}" is included by itself')
    if len(parents) > MAX_INCLUDE_DEPTH:
        raise FormatError(path, f"line {line}", f"more than {MAX_INCLUDE_DEPTH} includes deep")
    return target
