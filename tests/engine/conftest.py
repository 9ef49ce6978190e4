"""What the engine's tests share: programs run as people run them, edits, files of the real core."""

import gzip
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

SHARED = Path(__file__).parents[3] / "shared"

Run = Callable[..., "subprocess.CompletedProcess[str]"]

CONFIGURATION = """
chains: {
  train = ( "ascii", "split", "changes", "words_out" );
  trial = ( "ascii", "split", "measure", "report", "list", "dump" );
};
xml_edit_parser: { proptypes: {
  timestamp = "int"; user_edit_count = "int"; weight = "float"; isvandalism = "bool"; }; };
file_require_properties = ( "isvandalism" );
ascii: { module = "all_prop_charset_conv"; from = "UTF-8"; };
split: { module = "word_separator";
  valid_word_chars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  ignore_chars = "'-";
  inputs: { current_text = "current_words"; previous_text = "previous_words"; }; };
changes: { module = "wordset_diff"; current = "current_words"; previous = "previous_words";
  added = "added"; removed = "removed"; };
words_out: { module = "bayesian_training_data_creator"; filename = "out/words.dat";
  words = "added"; };
measure: { module = "expression_eval"; expressions: {
  score = "user_edit_count / (user_edit_count + current_words_size)"; }; };
report: { module = "trial_run_report"; isvandprop = "isvandalism"; score = "score"; id = "editid";
  report = "out/report.txt"; threshold = 0.5; false_positive_rate = 0.1;
  misclassified_file_prefix = "out/"; threshold_table = "out/table.txt"; };
list: { module = "write_properties"; filename = "out/list.txt";
  properties = ( "editid", "isvandalism", "score" ); };
dump: { module = "edit_dump"; filename = "out/dump.xml"; };
"""
"""A small configuration: a training chain and a trial chain."""


def edit(name: str | None = "1", *, truth: str | None = "true", **values: str | None) -> str:
    """An edit as XML; a value that is None is left out."""
    fields = {
        "EditID": name,
        "user_edit_count": "3",
        "isVandalism": truth,
        "current": "one two three",
        "previous": "one two",
    } | values
    texts = {key: fields.pop(key) for key in ("current", "previous")}
    lines = [
        f" <{key}>{escape(value)}</{key}>" for key, value in fields.items() if value is not None
    ]
    for key, value in texts.items():
        inside = "" if value is None else f"<text>{escape(value)}</text>"
        lines.append(f" <{key}>{inside}</{key}>")
    return "<WPEdit>\n" + "\n".join(lines) + "\n</WPEdit>\n"


def edit_set(*edits: str) -> str:
    """Edits as a file."""
    return '<?xml version="1.0"?>\n<WPEditSet>\n' + "".join(edits) + "</WPEditSet>\n"


@dataclass(frozen=True)
class Place:
    """A working directory with a configuration, in which ``cluebotng`` is run."""

    path: Path

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def run(
        self,
        chain: str,
        *,
        edits: str = "edits.xml",
        conf: str = "conf",
        cpu_seconds: int = 120,
        under: Sequence[str] = (),
    ) -> "subprocess.CompletedProcess[str]":
        """
        Run edits through a chain, as on the command line; what takes too long is killed.

        *under* is a program that runs another, ``prlimit`` or the like, and its options.
        """
        limit = ["prlimit", f"--cpu={cpu_seconds}"]
        command = [*under, *limit, sys.executable, "-m", "cbngtrain.engine"]
        return subprocess.run(
            [*command, "cluebotng", "-c", conf, "-m", chain, "-f", edits],
            cwd=self.path,
            capture_output=True,
            text=True,
            check=False,
        )

    def outputs(self) -> list[str]:
        """The names of all files in ``out``."""
        return sorted(path.name for path in (self.path / "out").iterdir())

    def read(self, name: str) -> bytes:
        """The content of a file."""
        return (self.path / name).read_bytes()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A working directory with the small configuration, two edits and an empty ``out``."""
    here = Place(tmp_path)
    here.write("conf/cluebotng.conf", CONFIGURATION)
    here.write("edits.xml", edit_set(edit("1"), edit("2", truth="false")))
    (tmp_path / "out").mkdir()
    return here


@pytest.fixture(scope="session")
def shared() -> Path:
    """The directory with the real core's files; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not there")
    return SHARED


def unpacked(path: Path) -> bytes:
    """The content of a file, or of its packed form."""
    return (
        path.read_bytes()
        if path.exists()
        else gzip.decompress(path.with_name(path.name + ".gz").read_bytes())
    )
