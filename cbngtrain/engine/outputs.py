"""
What a chain writes: training data and the trial's report; dumps.py has lists of properties.

An output renders a chunk of edits where they were processed, and a writer puts what was
rendered into files, in the order of the edit set (see `table.Output`).
"""

import shutil
import tempfile
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from cbngtrain.engine import report
from cbngtrain.engine.configuration import Block
from cbngtrain.engine.dumps import Copier, Files
from cbngtrain.engine.errors import FormatError
from cbngtrain.engine.first_words import sorted_and_joined
from cbngtrain.engine.report import c_float
from cbngtrain.engine.table import Link, Table

MIN_INTERVAL = 1e-6  # of the threshold table: a million lines


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
        sets = table.word_sets(self.words)
        for ids, is_vandalism in zip(sets.ids(), truths, strict=True):
            if len(ids):
                prefix = b"1 " if is_vandalism else b"0 "
                lines.append(prefix + b"_EDIT_TOTALS\n" + prefix)
                lines += [sorted_and_joined(sets.vocabulary, ids, b"\n" + prefix), b"\n"]
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
        self._body = tempfile.TemporaryFile()  # noqa: SIM115  # closed by finish()
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
        inputs, outputs = table.float_sets(self.inputs), table.float_sets(self.outputs)
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
        for edit, name in zip(table.edits, ids, strict=True):
            if self.id and not name:
                raise FormatError(table.path, edit.place, f"the edit's {self.id} is empty")
        return ids, truths, table.floats(self.score).tolist()

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
        if output.report or output.misclassified:
            text, primary = report.report(trial, output.threshold, output.rate)
            if output.report:
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
