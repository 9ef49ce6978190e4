"""
What a chain writes: training data, the trial's report, lists and dumps of properties.

An output renders a chunk of edits where they were processed, and a writer puts what was
rendered into files, in the order of the edit set (see `table.Output`).
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine import report
from cbngtrain.engine.configuration import Block
from cbngtrain.engine.report import c_float
from cbngtrain.engine.table import EVERYTHING, MAX_INDEXED, Deferred, Link, Table
from cbngtrain.engine.words import WordSet

DOUBLE_MAP = "expr_dmap_dbg"
"""What the last expressions of a chain could see: a property for dumps alone."""

FEW_LINES = 10  # of a word set, tried first where its text is to be cut

MIN_INTERVAL = 1e-6  # of the threshold table: a million lines

Files = Mapping[str, BinaryIO]


class Copier:
    """Writes rendered bytes to one file."""

    def __init__(self, file: BinaryIO, before: bytes = b"", after: bytes = b"") -> None:
        self._file = file
        self._after = after
        file.write(before)

    def write(self, rendered: bytes) -> None:
        """Take the next chunk."""
        self._file.write(rendered)

    def finish(self) -> None:
        """There are no more."""
        self._file.write(self._after)


@dataclass(frozen=True, slots=True)
class BayesTraining:
    """Per edit with words: ``V _EDIT_TOTALS``, then ``V word`` per distinct word."""

    filename: str
    words: str
    truth: str

    @property
    def reads(self) -> tuple[str, ...]:
        """The properties that it needs."""
        return self.words, self.truth

    @property
    def filenames(self) -> tuple[str, ...]:
        """The files that it writes."""
        return (self.filename,)

    def rendered(self, table: Table) -> bytes:
        """V is 1 for vandalism, else 0; words are in byte order."""
        lines: list[bytes] = []
        truths = table.required(self.truth, bool)
        for words, is_vandalism in zip(table.required(self.words, WordSet), truths, strict=True):
            if len(words):
                prefix = b"1 " if is_vandalism else b"0 "
                lines.append(prefix + b"_EDIT_TOTALS\n" + prefix)
                lines.append((b"\n" + prefix).join(sorted(words.counts)) + b"\n")
        return b"".join(lines)

    def writer(self, files: Files) -> Copier:
        """Blocks, one after another."""
        return Copier(files[self.filename])


def bayesian_training_data_creator(block: Block) -> list[Link]:
    """Training words, for ``create_bayes_db``."""
    block.only("filename", "words", "isvandprop", "is_vandalism")
    truth = block.text("is_vandalism", block.text("isvandprop", "isvandalism"))
    return [BayesTraining(block.text("filename"), block.text("words"), truth)]


class RowsWriter:
    """Writes rows under a header that counts them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._body = tempfile.TemporaryFile()
        self._edits = 0
        self._sizes = (0, 0)

    def write(self, rendered: tuple[int, tuple[int, int], bytes]) -> None:
        """Take the next chunk: edits, inputs and outputs of each, rows."""
        edits, self._sizes, rows = rendered
        self._edits += edits
        self._body.write(rows)

    def finish(self) -> None:
        """There are no more."""
        self._file.write(b"%d %d %d\n" % (self._edits, *self._sizes))
        self._body.seek(0)
        shutil.copyfileobj(self._body, self._file)
        self._body.close()


@dataclass(frozen=True, slots=True)
class AnnTraining:
    """Per edit a line of inputs and a line of outputs, in FANN's format."""

    filename: str
    inputs: str
    outputs: str

    @property
    def reads(self) -> tuple[str, ...]:
        """The properties that it needs."""
        return self.inputs, self.outputs

    @property
    def filenames(self) -> tuple[str, ...]:
        """The files that it writes."""
        return (self.filename,)

    def rendered(self, table: Table) -> tuple[int, tuple[int, int], bytes]:
        """Numbers with ten digits after the point."""
        inputs, outputs = table.required(self.inputs), table.required(self.outputs)
        rows = [_joined(row, "%.10f") for pair in zip(inputs, outputs, strict=True) for row in pair]
        return len(table.edits), (inputs.shape[1], outputs.shape[1]), "".join(rows).encode()

    def writer(self, files: Files) -> RowsWriter:
        """The rows of all edits, with their number first."""
        return RowsWriter(files[self.filename])


def write_ann_training_data(block: Block) -> list[Link]:
    """Training data for ``create_ann``."""
    block.only("input_set", "output_set", "filename", "tempfilename")
    sets = block.text("input_set"), block.text("output_set")
    return [AnnTraining(block.text("filename"), *sets)]


def _joined(row: NDArray[np.float32], pattern: str) -> str:
    if np.isnan(row).any():
        return " ".join(c_float(value, pattern) for value in row.tolist()) + "\n"
    return " ".join([pattern] * len(row)) % tuple(row.tolist()) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialReport:
    """How good the scores are: see report.py."""

    truth: str
    score: str
    id: str
    report: str
    table: str
    misclassified: tuple[str, ...]
    threshold: np.float32 | None
    rate: np.float32 | None
    interval: np.float32

    @property
    def reads(self) -> tuple[str, ...]:
        """The properties that it needs."""
        return tuple(filter(None, (self.truth, self.score, self.id)))

    @property
    def filenames(self) -> tuple[str, ...]:
        """The files that it writes."""
        return tuple(filter(None, (self.table, self.report, *self.misclassified)))

    def rendered(self, table: Table) -> tuple[list[bytes], list[bool], list[float]]:
        """Names, truths and scores."""
        truths = table.required(self.truth, bool)
        ids = table.required(self.id, bytes) if self.id else [b""] * len(truths)
        scores = np.asarray(table.required(self.score), np.float32)
        return ids, truths, scores.tolist()

    def writer(self, files: Files) -> "TrialWriter":
        """What gathers the scores, and writes when there are all."""
        return TrialWriter(self, files)


class TrialWriter:
    """Gathers what was scored, a few bytes per edit, and reports on it at the end."""

    def __init__(self, output: TrialReport, files: Files) -> None:
        self._output = output
        self._files = files
        self._ids: list[bytes] = []
        self._truths: list[bool] = []
        self._scores: list[float] = []

    def write(self, rendered: tuple[list[bytes], list[bool], list[float]]) -> None:
        """Take the next chunk."""
        ids, truths, scores = rendered
        self._ids += ids
        self._truths += truths
        self._scores += scores

    def finish(self) -> None:
        """There are no more."""
        output, files = self._output, self._files
        truths, scores = np.array(self._truths, bool), np.array(self._scores, np.float32)
        trial = report.Trial(self._ids, truths, scores)
        if output.table:
            lines = report.threshold_table(trial, output.interval)
            files[output.table].write("".join(lines).encode())
        if output.report:
            text, primary = report.report(trial, output.threshold, output.rate)
            files[output.report].write(text.encode())
            lists = report.misclassified(trial, primary)
            for name, content in zip(output.misclassified, lists, strict=False):
                files[name].write(content)


def trial_run_report(block: Block) -> list[Link]:
    """The report of a trial."""
    block.only(
        "isvandprop", "score", "id", "report", "threshold", "false_positive_rate",
        "misclassified_file_prefix", "threshold_table", "threshold_table_interval",
    )  # fmt: skip
    interval = block.number("threshold_table_interval", report.DEFAULT_INTERVAL)
    if interval < MIN_INTERVAL:
        block.refuse("threshold_table_interval", f"must be {MIN_INTERVAL} or more")
    prefix = block.text("misclassified_file_prefix", "")
    lists = (prefix + "falsepositives.txt", prefix + "falsenegatives.txt")
    has_lists = "report" in block and "misclassified_file_prefix" in block
    return [
        TrialReport(
            truth=block.text("isvandprop"),
            score=block.text("score"),
            id=block.text("id", ""),
            report=block.text("report", ""),
            table=block.text("threshold_table", ""),
            misclassified=lists if has_lists else (),
            threshold=_float32(block, "threshold"),
            rate=_float32(block, "false_positive_rate"),
            interval=np.float32(interval),
        )
    ]


def _float32(block: Block, key: str) -> np.float32 | None:
    return np.float32(block.number(key)) if key in block else None


@dataclass(frozen=True, slots=True)
class Properties:
    """Per edit a line of ``name=value``, joined by commas."""

    filename: str
    names: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The properties that it needs."""
        return self.names

    @property
    def filenames(self) -> tuple[str, ...]:
        """The files that it writes."""
        return (self.filename,)

    def rendered(self, table: Table) -> bytes:
        """Values as in a dump."""
        columns = [_texts_of(table.required(name), None) for name in self.names]
        names = [name.encode() for name in self.names]
        return b"".join(
            b", ".join(b"%b=%b" % pair for pair in zip(names, row, strict=True)) + b"\n"
            for row in zip(*columns, strict=True)
        )

    def writer(self, files: Files) -> Copier:
        """Lines, one after another."""
        return Copier(files[self.filename])


def write_properties(block: Block) -> list[Link]:
    """A list of edits with some of their properties."""
    block.only("filename", "properties")
    return [Properties(block.text("filename"), block.texts("properties"))]


@dataclass(frozen=True, slots=True)
class Dump:
    """
    Every edit with all its properties, as XML.

    Attributes:
        limit: Bytes that a value may have; longer ones are cut and end in `` ...``.
    """

    filename: str
    limit: int | None
    reads: tuple[str, ...] = (EVERYTHING,)

    @property
    def filenames(self) -> tuple[str, ...]:
        """The files that it writes."""
        return (self.filename,)

    def rendered(self, table: Table) -> bytes:
        """Properties by name, a line each."""
        columns = [
            _elements(name, column, self.limit) for name, column in sorted(table.columns.items())
        ]
        rows = zip(*columns, strict=True)
        return b"".join(b"<WPEdit>\n%b</WPEdit>\n\n\n" % b"".join(row) for row in rows)

    def writer(self, files: Files) -> Copier:
        """An edit set."""
        return Copier(files[self.filename], b"<WPEditSet>\n", b"</WPEditSet>\n")


def edit_dump(block: Block) -> list[Link]:
    """Edits with all their properties."""
    block.only("filename", "maxlen")
    limit = block.integer("maxlen", -1)
    return [Dump(block.text("filename"), limit if limit >= 0 else None)]


def print_progress(block: Block) -> list[Link]:
    """Nothing: progress is shown on every terminal, and ``interval`` is the bar's own choice."""
    block.only("interval")
    return []


def _elements(name: str, column: Any, limit: int | None) -> list[bytes]:
    """The values as elements; nothing where an edit has none."""
    tag = name.encode()
    element = b"<%b>%%b</%b>\n" % (tag, tag)
    texts = _texts_of(column, limit)
    if not _is_number(column):
        texts = [None if text is None else _escaped(_cut(text, limit)) for text in texts]
    return [b"" if text is None else element % text for text in texts]


def _is_number(column: Any) -> bool:
    """Whether the values are numbers alone, which are short and need no escapes."""
    if isinstance(column, np.ndarray):
        return column.ndim == 1
    return isinstance(column, list) and {int, float, bool}.issuperset(map(type, column))


def _cut(text: bytes, limit: int | None) -> bytes:
    """The text, or its beginning; the native core takes a negative length for none."""
    if limit is None or len(text) <= limit:
        return text
    return (text[: limit - 4] if limit >= 4 else text) + b" ..."


_BEYOND_ASCII = bytes(range(128, 256))


def _escaped(text: bytes) -> bytes:
    if not text.isascii():
        text = text.translate(None, _BEYOND_ASCII)
    if b"&" in text:
        text = text.replace(b"&", b"&amp;")
    return text.replace(b"<", b"&lt;").replace(b">", b"&gt;")


class DoubleMap:
    """
    The numbers that expressions could see, by name, of each edit.

    Columns are only replaced, never changed, so keeping them keeps what was seen.
    """

    def __init__(self, table: Table) -> None:
        self._table = Table(table.path, table.edits, dict(table.columns))

    def texts(self, limit: int | None) -> list[bytes]:
        """``DoubleMap:`` and a line each, of each edit; at least *limit* + 1 bytes of them."""
        columns = [(f"{name}: ", self._table.numbers(name)) for name in self._names(limit)]
        texts = [b"DoubleMap:\n"] * len(self._table.edits)
        for label, (numbers, is_whole) in columns:
            assert is_whole, label
            lines = [label + c_float(number, "%g") + "\n" for number in numbers.tolist()]
            texts = [text + line.encode() for text, line in zip(texts, lines, strict=True)]
        return texts

    def _names(self, limit: int | None) -> list[str]:
        """
        The names in order: all, or the first ones whose lines exceed a limit.

        Names begin with their column's name, so those before the next column's are settled.
        """
        found: list[str] = []
        for name, column in sorted(self._table.columns.items()):
            settled = sum(len(each) for each in found if each < name)
            if limit is not None and settled > limit:
                break
            found += _names_seen(name, column)
        return sorted(found)


def _names_seen(name: str, column: Any) -> list[str]:
    """The names under which expressions see a column."""
    if isinstance(column, DoubleMap):
        return []
    if isinstance(column, Deferred):
        return [name + "_size"]
    if isinstance(column, np.ndarray):
        if column.ndim == 1:
            return [name]
        width = column.shape[1]
        return [f"{name}_{index}" for index in range(width)] if width < MAX_INDEXED else []
    names = []
    if any(type(value) in {int, float, bool} for value in column):
        names.append(name)
    if any(isinstance(value, bytes | WordSet) for value in column):
        names.append(name + "_size")
    return names


def keep_double_map(table: Table) -> None:
    """Set the property that tells what expressions can see now."""
    table.columns[DOUBLE_MAP] = DoubleMap(table)


def _texts_of(column: Any, limit: int | None) -> list[bytes | None]:
    """The values as text; of long ones at least the first *limit* + 1 bytes."""
    if isinstance(column, DoubleMap):
        return [*column.texts(limit)]
    if isinstance(column, Deferred):
        return column.values() if limit is None else column.beginnings(limit + 1)
    if isinstance(column, np.ndarray) and column.ndim == 2:
        return [_float_set_text(row, limit) for row in column]
    if isinstance(column, np.ndarray):
        return _number_texts(column)
    return [_text_of(value, limit) for value in column]


def _number_texts(column: NDArray[np.float32]) -> list[bytes | None]:
    """All at once, which is quicker, if none is NaN."""
    values = column.tolist()
    if np.isnan(column).any():
        return [c_float(value, "%g").encode() for value in values]
    return [*(b"%g " * len(values) % tuple(values)).split()]


def _text_of(value: Any, limit: int | None) -> bytes | None:
    if isinstance(value, WordSet):
        return _word_set_text(value, limit)
    return _TEXTS[type(value)](value)


def _word_set_text(words: WordSet, limit: int | None) -> bytes:
    """
    A line each: of as many words as fill the limit.

    A line has five bytes at least, and nine come before the first, which tells how many lines
    are enough in any case; most often a few are.
    """
    most = len(words) if limit is None else max(limit - 9, 0) // 5 + 1
    for number in (FEW_LINES, most):
        lines = [b"%b: %d\n" % each for each in words.first(number)]
        text = b"WordSet:\n" + b"".join(lines)
        if limit is not None and (len(text) > limit or len(lines) < number):
            break
    return text


def _float_set_text(values: NDArray[np.float32], limit: int | None) -> bytes:
    """A line has two bytes at least."""
    some = values if limit is None else values[: limit // 2 + 1]
    return ("FloatSet:\n" + "".join(c_float(each, "%g") + "\n" for each in some.tolist())).encode()


_TEXTS: Mapping[type, Callable[[Any], bytes | None]] = {
    type(None): lambda _: None,
    bytes: lambda value: value,
    bool: lambda value: b"true" if value else b"false",
    int: lambda value: b"%d" % value,
    float: lambda value: c_float(value, "%g").encode(),
}
