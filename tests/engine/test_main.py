"""The engine's entry point, and files that appear whole or not at all."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cbngtrain import engine
from cbngtrain.engine.bayes import read_database
from cbngtrain.engine.errors import EngineError
from cbngtrain.engine.output import whole_file
from tests.engine.conftest import Place

ENGINE = [sys.executable, "-m", "cbngtrain.engine"]


@pytest.mark.parametrize(
    ("arguments", "status", "stream"),
    [((), 2, "stderr"), (("--help",), 0, "stdout"), (("nope",), 2, "stderr")],
)
def test_usage_names_the_programs(arguments: tuple[str, ...], status: int, stream: str):
    """Without a program, or with one that does not exist, the programs are listed as an error."""
    ended = subprocess.run([*ENGINE, *arguments], check=False, capture_output=True, text=True)

    assert ended.returncode == status
    assert "cluebotng,create_bayes_db,print_bayes_db,create_ann" in getattr(ended, stream)


def test_the_map_shows_every_module():
    """And none that is not there, as far as its name tells that it is one."""
    told = set(re.findall(r"\w+", engine.__doc__ or ""))
    modules = {path.stem for path in Path(str(engine.__file__)).parent.glob("[a-z]*.py")}
    assert modules - told == set()
    assert {word for word in told if "_" in word} - modules == set()


@pytest.mark.parametrize(
    ("arguments", "needless"),
    [
        (("cluebotng", "-m", "train", "-f", "edits.xml"), {"tqdm", "email", "logging"}),
        (("create_ann", "a.fann", "no.dat", "1", "0", "1"), {"tqdm", "email", "berkeleydb"}),
        (("create_bayes_db", "a.db", "no.dat"), {"tqdm", "email", "numpy", "multiprocessing"}),
        (("print_bayes_db", "no.db"), {"tqdm", "email", "numpy", "multiprocessing"}),
    ],
    ids=["cluebotng", "create_ann", "create_bayes_db", "print_bayes_db"],
)
def test_start_loads_what_is_needed(place: Place, arguments: tuple[str, ...], needless: set[str]):
    """What a program does not need, and takes long to load, is not loaded."""
    command = [sys.executable, "-X", "importtime", *ENGINE[1:], *arguments]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, cwd=place.path)

    loaded = set(re.findall(r"\| +([\w.]+)$", ended.stderr, re.MULTILINE))
    assert "cbngtrain.engine.output" in loaded  # by each program
    assert loaded & needless == set()


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_programs_run_with_standard_output_or_error_closed(tmp_path: Path, closed: str):
    """It is as good as nobody reading them: the work is done, and goes to its own file."""
    (tmp_path / "words.dat").write_text("0 _EDIT_TOTALS\n0 word\n" * 9)
    command = " ".join([*ENGINE, "create_bayes_db", "words.db", "words.dat"])

    ended = subprocess.run(["sh", "-c", f"{command} {closed}"], check=False, cwd=tmp_path)

    assert ended.returncode == 0
    assert read_database(tmp_path / "words.db") == {b"_EDIT_TOTALS": (9, 0), b"word": (9, 0)}


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_full_standard_output_is_one_line(tmp_path: Path, unbuffered: str):
    """It is named, and not the file that is being made; of which nothing is left."""
    (tmp_path / "rows.dat").write_text("2 1 1\n0\n0\n1\n1\n")
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*ENGINE, "create_ann", "net.fann", "rows.dat", "2", "0", "3"],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={"PYTHONUNBUFFERED": unbuffered},
        )

    problem = "standard output: cannot be written: No space left on device"
    assert (ended.stderr, ended.returncode) == (f"create_ann: {problem}\n", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.dat"]


def test_ctrl_c_ends_any_program(tmp_path: Path):
    """Exit status 130, and no traceback."""
    rows = "\n".join(f"{i % 7 / 7} {i % 5 / 5}\n{i % 2}" for i in range(40))
    (tmp_path / "rows.dat").write_text(f"40 2 1\n{rows}\n")
    command = [*ENGINE, "create_ann", "net.fann", "rows.dat", "999999999", "0", "3"]
    with subprocess.Popen(
        ["env", "--default-signal=INT", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as training:
        assert training.stdout
        training.stdout.readline()
        training.send_signal(signal.SIGINT)
        _, stderr = training.communicate(timeout=20)

    assert (training.returncode, stderr) == (130, "")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.dat"]


def test_closed_standard_output_is_one_line(tmp_path: Path):
    """A reader that goes away stops the program with one line, and no output is left."""
    rows = "\n".join(f"{i % 7 / 7} {i % 5 / 5}\n{i % 2}" for i in range(40))
    (tmp_path / "rows.dat").write_text(f"40 2 1\n{rows}\n")
    command = " ".join([*ENGINE, "create_ann", "net.fann", "rows.dat", "2000", "0", "3"])

    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -c 1"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    assert ended.returncode == 2, ended
    assert ended.stderr == "create_ann: nobody reads what it prints; stopped\n"
    assert [path.name for path in tmp_path.iterdir()] == ["rows.dat"]


def test_device_is_written_to_and_stays():
    """What is no regular file is not replaced; when it is full, that is an error."""
    with (
        pytest.raises(EngineError, match="/dev/full: cannot be written: No space left on device"),
        whole_file(Path("/dev/full")) as file,
    ):
        file.write(b"more than nothing")

    assert Path("/dev/full").is_char_device()


def test_what_standard_output_stands_for_is_written_to(tmp_path: Path):
    """It is a file here, and still not one to be replaced: by no file beside it, either."""
    (tmp_path / "words.dat").write_text("0 _EDIT_TOTALS\n0 word\n" * 9)
    with (tmp_path / "printed").open("wb") as printed:
        ended = subprocess.run(
            [*ENGINE, "create_bayes_db", "/dev/fd/1", "words.dat"],
            check=False,
            cwd=tmp_path,
            stdout=printed,
        )

    assert ended.returncode == 0
    assert b"_EDIT_TOTALS" in (tmp_path / "printed").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["printed", "words.dat"]


def test_of_two_files_that_are_open_each_names_itself(tmp_path: Path):
    """The one that cannot be written is blamed, not the one that was opened last."""
    with (
        pytest.raises(EngineError, match=r"^/dev/full: cannot be written"),
        whole_file(Path("/dev/full")) as full,
        whole_file(tmp_path / "other"),
    ):
        full.write(b"more than a buffer has" * 10_000)

    assert list(tmp_path.iterdir()) == []


def test_directory_is_not_replaced(tmp_path: Path):
    """A directory under the output's name is an error."""
    with pytest.raises(EngineError, match="Is a directory"), whole_file(tmp_path):
        pass

    assert tmp_path.is_dir()


def test_block_that_fails_leaves_the_old_file(tmp_path: Path):
    """What raises in the block leaves what stood there, and nothing beside it."""
    path = tmp_path / "file"
    path.write_text("old")

    with pytest.raises(ZeroDivisionError), whole_file(path) as file:
        file.write(b"%d" % (1 // 0))

    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["", ".", "/", "x" * 300])
def test_name_that_is_none(name: str):
    """A path that cannot be a file's is an error, and not a bug."""
    with pytest.raises(EngineError, match="cannot be written"), whole_file(Path(name)):
        pass


def test_name_of_two_lines(tmp_path: Path):
    """An error is one line, whatever the name of the file is."""
    ended = subprocess.run(
        [*ENGINE, "create_bayes_db", "out.db", "a\nb"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)


def test_no_memory_is_one_line(tmp_path: Path):
    """A file without end is more than there is room for."""
    command = " ".join([*ENGINE, "create_bayes_db", "out.db", "/dev/zero"])

    ended = subprocess.run(
        ["bash", "-c", f"ulimit -v 300000; {command}"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    assert ended.returncode == 2
    assert ended.stderr == "create_bayes_db: what it is given needs more memory than there is\n"
    assert not list(tmp_path.iterdir())
