"""
Canonical forms and output checks, by artifact kind.

A form says what an artifact means: the sha256 of its canonical form is its *meaning*, of which
fingerprints are made. A check says what an artifact must look like before a record may name it,
because the native core's exit status proves nothing.

Both are small enough to be spelt in shell as well, with coreutils and ``print_bayes_db``, where a
step runs in a pod without Python.
"""

import hashlib
import importlib
import itertools
import json
import mmap
import re
import subprocess
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from cbngtrain.errors import DispatchError, FormatError, SettingsError
from cbngtrain.step import Artifact, Digest, Leaf

TOTALS = b"_EDIT_TOTALS"  # the word under which the core counts edits

EVALUATION_VERSION = 1  # of metrics.json, comparison.json and spread.json

_CHUNK = 1 << 20  # bytes


def digest_of(path: Path) -> Digest:
    """Return the sha256 of the bytes of *path*."""
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())


def artifact_of(leaf: Leaf, directory: Path) -> Artifact:
    """
    Return what the command left for *leaf* in *directory*.

    Raises:
        FormatError: It is missing, or its check fails.
    """
    path = directory / leaf.path
    if not path.is_file():
        raise FormatError(leaf.path, "", "the command did not leave it")
    CHECKS[leaf.check](path, directory)
    return Artifact(leaf.artifact, digest_of(path), FORMS[leaf.form](path), path.stat().st_size)


def berkeley_db() -> Any:
    """
    Return the Berkeley DB module.

    Raises:
        SettingsError: It cannot be loaded here; says which Debian package brings it.
    """
    try:
        return importlib.import_module("berkeleydb.db")
    except ImportError as error:
        raise SettingsError(
            f"Berkeley DB cannot be loaded ({error}); install Debian's libdb5.3-dev, then run "
            "`sh .ci/install`"
        ) from error


# Canonical forms -------------------------------------------------------------------------------


def _raw(path: Path) -> Digest:
    """The bytes themselves."""
    return digest_of(path)


def _lines(path: Path) -> Digest:
    """The sorted lines, byte by byte: threads write them in any order."""
    with path.open("rb") as file:
        return _digest_of_sorted(path, iter(partial(file.read, _CHUNK), b""))


def _rows(path: Path) -> Digest:
    """The header, then the sorted rows, each an edit's input and output line joined by a space."""
    with path.open("rb") as file:
        header = file.readline()
        rows = (line.rstrip(b"\n") + b" " + file.readline() for line in file)
        return _digest_of_sorted(path, rows, header)


def _bayes_db(path: Path) -> Digest:
    """``_EDIT_TOTALS good bad``, then the sorted lines ``word good bad``."""
    counts = read_bayes_db(path)
    good, bad = counts.pop(TOTALS, (0, 0))
    lines = sorted(b"%b %d %d" % (word, *count) for word, count in counts.items())
    text = b"\n".join([b"%b %d %d" % (TOTALS, good, bad), *lines, b""])
    return Digest(hashlib.sha256(text).hexdigest())


FORMS: Mapping[str, Callable[[Path], Digest]] = {
    "raw": _raw,
    "lines": _lines,
    "rows": _rows,
    "bayes-db": _bayes_db,
}
"""Canonical form → the function that returns the meaning of a file."""


def _digest_of_sorted(path: Path, text: Iterable[bytes], header: bytes = b"") -> Digest:
    """
    Return the sha256 of *header* and the lines of *text*, given in pieces, in byte order.

    The sorting is coreutils': it uses the disk, beside *path*, where memory is short, and is to
    the letter what a pod does.

    Raises:
        DispatchError: The sorting failed, such as on a full disk: what it told is no meaning.
    """
    with subprocess.Popen(
        ["sort", "-T", path.parent],  # noqa: S607 - coreutils, wherever the system keeps them
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    ) as sort:
        assert sort.stdin
        assert sort.stdout
        with suppress(BrokenPipeError):  # its exit code tells
            sort.stdin.writelines(text)  # sort answers only when its input has ended
        with suppress(BrokenPipeError):
            sort.stdin.close()
        sha256 = hashlib.sha256(header)
        while chunk := sort.stdout.read(_CHUNK):
            sha256.update(chunk)
    if sort.returncode:
        raise DispatchError(f"{path}: cannot be sorted: exit code {sort.returncode} of sort")
    return Digest(sha256.hexdigest())


def read_bayes_db(path: Path) -> dict[bytes, tuple[int, int]]:
    """
    Return word → (good edits, bad edits) of a Bayes database.

    It is verified first: reading a damaged one can go on for ever.

    Raises:
        FormatError: It is no such database, or a value is not two unsigned 32-bit numbers.
    """
    db = berkeley_db()
    try:
        db.DB().verify(str(path))
        base = db.DB()
        base.open(str(path), dbtype=db.DB_BTREE, flags=db.DB_RDONLY)
        items = base.items()
        base.close()
    except db.DBError as error:
        raise FormatError(path.name, "", f"no Berkeley DB database: {error}") from error
    if any(len(value) != 8 for _, value in items):
        raise FormatError(path.name, "", "a value is not two 32-bit numbers")
    return {
        word: (int.from_bytes(value[:4], "little"), int.from_bytes(value[4:], "little"))
        for word, value in items
    }


# Checks ----------------------------------------------------------------------------------------


def _check_bayes_words(path: Path, directory: Path) -> None:
    """Lines ``0 word`` or ``1 word``, a block per edit, no more blocks than edits."""
    data = _bytes_of(path)
    if bad := _NOT_A_WORD.search(data):
        line = data[: bad.start()].count(b"\n") + 1
        raise FormatError(path.name, f"line {line}", "not a 0 or 1, a space and a word")
    blocks = sum(1 for _ in _BLOCK.finditer(data))
    if not data[2:].startswith(TOTALS + b"\n"):
        raise FormatError(path.name, "line 1", f"does not begin with {TOTALS.decode()}")
    if blocks > (edits := _edits_in(directory)):
        raise FormatError(path.name, "", f"tells of {blocks} edits, but there are only {edits}")


def _check_ann_rows(path: Path, directory: Path) -> None:
    """A header, and for every edit a line of inputs and one of outputs, nothing but numbers."""
    data = _bytes_of(path)
    head = _HEADER.match(data)
    if not head:
        raise FormatError(path.name, "line 1", "not a header of three numbers")
    rows, inputs, outputs = map(int, head.groups())
    if rows != (edits := _edits_in(directory)):
        raise FormatError(path.name, "line 1", f"{rows} rows for {edits} edits")
    if foreign := data.translate(None, b"0123456789.-\n "):
        raise FormatError(path.name, "", f"holds more than numbers: {foreign[:20]!r}")
    *lines, rest = data[head.end() :].split(b"\n")
    if len(lines) != 2 * rows or rest:
        raise FormatError(path.name, "", f"has {len(lines)} whole lines for {rows} rows")
    for number, line in enumerate(lines):
        wanted = outputs if number % 2 else inputs
        if len(line.split()) != wanted:
            raise FormatError(path.name, f"line {number + 2}", f"does not hold {wanted} numbers")


def _check_bayes_db(path: Path, directory: Path) -> None:
    """A database that counted as many edits as the words it was made from, if here, tell of."""
    counted = sum(read_bayes_db(path).get(TOTALS, (0, 0)))
    for source in (directory / "data").glob("*_bayes_train.dat"):
        told = sum(1 for _ in _BLOCK.finditer(source.read_bytes()))
        if counted != told or not told:
            raise FormatError(path.name, "", f"counts {counted} edits; {source.name} has {told}")
    if not counted:
        raise FormatError(path.name, "", "counts 0 edits")


def _check_network(path: Path, directory: Path) -> None:
    """A whole network, all numbers, with the inputs and outputs of the training data, if here."""
    shape = network_shape(path)
    rows = directory / "data" / "main_ann_train.dat"
    if not rows.exists():
        return
    with rows.open("rb") as file:
        _, inputs, outputs = map(int, file.readline().split())
    if shape != (inputs, outputs):
        told = f"{shape[0]} inputs and {shape[1]} outputs"
        raise FormatError(path.name, "", f"has {told} instead of {inputs} and {outputs}")


def network_shape(path: Path) -> tuple[int, int]:
    """Return how many inputs and outputs a network has. Raises FormatError if it is not whole."""
    head, _, weights = _bytes_of(path).partition(b"\nconnections (")
    layers = _LAYERS.search(head)
    if not head.startswith(b"FANN_FLO_2.1\n") or not layers or not weights.endswith(b"\n"):
        raise FormatError(path.name, "", "is not a whole network")
    sizes = [int(size) for size in layers[1].split()]  # each with its bias neuron
    wanted = sum(size * (above - 1) for size, above in itertools.pairwise(sizes))
    if (found := weights.count(b"(")) != wanted:
        raise FormatError(path.name, "", f"has {found} weights instead of {wanted}")
    if b"nan" in weights or b"inf" in weights:
        raise FormatError(path.name, "", "has a weight that is no number")
    return sizes[0] - 1, sizes[-1] - 1


def _check_trial_report(path: Path, directory: Path) -> None:
    """A report on as many edits as there are, to its last line, with rates that are numbers."""
    text = path.read_bytes()
    told = re.search(rb"^Trial set: (\d+) Edits - (\d+) vandalism", text, re.MULTILINE)
    edits = _edits_in(directory)
    if not told or int(told[1]) != edits:
        raise FormatError(path.name, "", f"does not report on the {edits} edits of the trial set")
    is_lacking = edits and int(told[2]) in {0, edits}  # then a rate cannot be a number
    if b"nan" in text and not is_lacking:
        raise FormatError(path.name, "", "a rate is no number")
    if not _LAST_LINE.search(text):
        raise FormatError(path.name, "", "is cut before its last line")


def _check_table(path: Path, _directory: Path) -> None:
    """A line of headings, and a whole last line."""
    text = path.read_bytes()
    if not text.startswith(b"#") or not text.endswith(b"\n"):
        raise FormatError(path.name, "", "is not a whole table with a line of headings")


def _check_trial_details(path: Path, directory: Path) -> None:
    """A line for every edit."""
    data = _bytes_of(path)
    lines = sum(1 for _ in _DETAIL.finditer(data))
    edits = _edits_in(directory)
    is_whole = data[-1:] == b"\n" and data.count(b"\n") == lines
    if not is_whole or lines != edits:
        raise FormatError(path.name, "", f"has {lines} whole lines for {edits} edits")
    if bad := _NO_NUMBER.search(data):
        line = data[: bad.start()].count(b"\n") + 1
        raise FormatError(path.name, f"line {line}", "a score is no number")


def _check_edit_set(path: Path, _directory: Path) -> None:
    """XML to its closing tag."""
    with path.open("rb") as file:  # it can be large
        file.seek(max(0, path.stat().st_size - 64))
        end = file.read()
    if not end.rstrip().endswith(b"</WPEditSet>"):
        raise FormatError(path.name, "", "does not end with </WPEditSet>")


def _check_metrics(path: Path, directory: Path) -> None:
    """Figures in the form that we know, of as many edits as were scored."""
    edits = _evaluated(path, "cbngtrain/metrics")["counts"]["edits"]
    scored = (directory / "details.txt").read_bytes().count(b"\n")
    if edits != scored:
        raise FormatError(path.name, "", f"tells of {edits} edits, but {scored} were scored")


def _check_comparison(path: Path, _directory: Path) -> None:
    """Comparisons in the form that we know, at least one."""
    if not _evaluated(path, "cbngtrain/comparison").get("comparisons"):
        raise FormatError(path.name, "", "compares with nothing")


def _check_spread(path: Path, directory: Path) -> None:
    """A spread in the form that we know, over the seeds that there are."""
    seeds = len(_evaluated(path, "cbngtrain/spread").get("seeds", []))
    if seeds != (tried := len(list((directory / "seeds").glob("*.txt")))):
        raise FormatError(path.name, "", f"tells of {seeds} seeds, but {tried} were tried")


def _evaluated(path: Path, form: str) -> Any:
    """Return what the evaluation wrote, where it is of the *form* that we know."""

    def refuse(number: str) -> None:
        raise FormatError(path.name, "", f"has {number}, which is no number")

    try:
        value = json.loads(_bytes_of(path), parse_constant=refuse)
        known = (value["format"], value["version"]) == (form, EVALUATION_VERSION)
    except (ValueError, TypeError, KeyError) as error:
        raise FormatError(path.name, "", f"is no {form}: {error!r}") from error
    if not known:
        raise FormatError(path.name, "", f"is not {form} in version {EVALUATION_VERSION}")
    return value


def _check_png(path: Path, _directory: Path) -> None:
    """A picture, each chunk with its checksum, to the last."""
    data = path.read_bytes()
    at, kind = len(_PNG), b""
    while data.startswith(_PNG) and kind != b"IEND" and at < len(data):
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        body, at = data[at + 4 : at + 8 + size], at + 12 + size
        if zlib.crc32(body).to_bytes(4) != data[at - 4 : at]:
            break
    else:
        if kind == b"IEND" and at == len(data):
            return
    raise FormatError(path.name, "", "is no whole PNG")


def _check_svg(path: Path, _directory: Path) -> None:
    """A picture to its closing tag."""
    text = path.read_bytes()
    if b"<svg" not in text[:2000] or not text.rstrip().endswith(b"</svg>"):
        raise FormatError(path.name, "", "is no whole SVG")


CHECKS: Mapping[str, Callable[[Path, Path], None]] = {
    "bayes-words": _check_bayes_words,
    "bayes-db": _check_bayes_db,
    "ann-rows": _check_ann_rows,
    "network": _check_network,
    "trial-report": _check_trial_report,
    "trial-details": _check_trial_details,
    "table": _check_table,
    "edit-set": _check_edit_set,
    "metrics": _check_metrics,
    "comparison": _check_comparison,
    "spread": _check_spread,
    "png": _check_png,
    "svg": _check_svg,
}
"""
Check → the function that raises FormatError.

It takes the file and the directory in which the command ran, with the inputs beside it.
"""

_PNG = b"\x89PNG\r\n\x1a\n"
_NOT_A_WORD = re.compile(rb"(?m)^(?![01] [^\n]+\n)(?=[^\n]|\n)")
_BLOCK = re.compile(rb"(?m)^[01] " + TOTALS + rb"$")
_HEADER = re.compile(rb"(\d{1,9}) (\d{1,9}) (\d{1,9})\n")
_LAST_LINE = re.compile(rb"\n(?:Trial set|Correct positives): [^\n]+\n\s*\Z")
_NO_NUMBER = re.compile(rb"score=-?(?:nan|inf)")
_LAYERS = re.compile(rb"(?m)^layer_sizes=((?:[1-9]\d{0,8} )+)$")
_DETAIL = re.compile(rb"(?m)^editid=[^,\n]+, [^\n]+$")


def _bytes_of(path: Path) -> bytes:
    """Return the bytes of *path*; raises FormatError for an empty file."""
    if data := path.read_bytes():
        return data
    raise FormatError(path.name, "", "is empty")


def _edits_in(directory: Path) -> int:
    """Return how many edits the step's edit set has; canonical XML has a line for each."""
    with (
        (directory / "edits.xml").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        return sum(1 for _ in re.finditer(rb"(?m)^<WPEdit>$", data))
