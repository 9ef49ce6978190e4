"""``create_ann``: training files, and the program on its command line."""

import ctypes
import gzip
import os
import random
import re
import resource
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbngtrain.engine.create_ann import main
from cbngtrain.engine.errors import FormatError
from cbngtrain.engine.network import Layer, Network, load_network, write_network
from cbngtrain.engine.training_rows import fixed_width_numbers, read_training_rows

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="../shared is not here")

PROGRAM = (sys.executable, "-m", "cbngtrain.engine", "create_ann")

ROWS = "2 3 1\n0.5 0.25 0.0\n1.0\n1.0 0.0 0.125\n0.0\n"

SYNTHETIC = ("linear", "curved", "exclusive or", "noise")


def run(
    *args: object, env: Mapping[str, str] | None = None, **options
) -> "subprocess.CompletedProcess[str]":
    """Run the program, with nothing but *env* set for it."""
    inherited = {"PATH": os.defpath}
    command = [*PROGRAM, *map(str, args)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=inherited | dict(env or {}),
        **options,
    )


def unpacked(name: str, directory: Path) -> Path:
    """Return a golden file, unpacked in *directory*."""
    path = directory / Path(name).name.removesuffix(".gz")
    path.write_bytes(gzip.decompress((GOLDEN / name).read_bytes()))
    return path


def epochs(output: str) -> list[tuple[int, float, int]]:
    """Return epoch, error and bit fail of each epoch that was printed."""
    lines = re.findall(
        r"^Epochs +(\d+)\. Current error: ([\d.]+)\. Bit fail (\d+)\.$", output, re.MULTILINE
    )
    return [(int(epoch), float(error), int(bit_fail)) for epoch, error, bit_fail in lines]


# From given start weights: exactly libfann's training.


@needs_golden
@pytest.mark.parametrize("name", ["real", "n50", "n400"])
def test_golden(name: str, tmp_path: Path) -> None:
    """From libfann's start weights: its epochs, their errors, the same text and the same scores."""
    rows = unpacked(f"{name}/data/main_ann_train.dat.gz", tmp_path)
    start = unpacked(f"{name}/seeded/main_ann.fann.init.gz", tmp_path)
    golden = load_network(unpacked(f"{name}/seeded/main_ann.fann.gz", tmp_path))
    out = tmp_path / "out.fann"
    ended = run(out, rows, 150, 0.037, 100, env={"CBNG_START_WEIGHTS": str(start)})
    text = (GOLDEN / name / "seeded" / "create_ann.out").read_text()
    figures = re.compile(r"0\.\d{10}\.")
    assert figures.sub("*", ended.stdout) == figures.sub("*", text)
    assert epochs(ended.stdout) == [pytest.approx(epoch, rel=1e-6) for epoch in epochs(text)]
    inputs = read_training_rows(rows).inputs
    assert load_network(out).run(inputs) == pytest.approx(golden.run(inputs), abs=1e-3)


# From its own start: seeded, and at least as good as libfann.


def synthetic(kind: str, rows: int, seed: int, path: Path) -> Path:
    """Write a training file of 161 inputs, some of them always 0, and a rule with exceptions."""
    generator = np.random.default_rng(seed)
    inputs = generator.random((rows, 161)) * (generator.random(161) < 0.8)
    centred = inputs - inputs.mean(axis=0)
    score = {
        "linear": lambda: centred @ generator.normal(size=161) + generator.normal(size=rows) * 2,
        "curved": lambda: centred[:, 0] * 4 - centred[:, 1] ** 2 * 9 + 0.6,
        "exclusive or": lambda: centred[:, 2] * centred[:, 3],
        "noise": lambda: generator.normal(size=rows),
    }[kind]()
    lines = [f"{rows} 161 1"]
    for row, is_vandalism in zip(inputs.tolist(), (score > 0).tolist(), strict=True):
        lines += [" ".join(f"{value:.10f}" for value in row), f"{is_vandalism:.10f}"]
    path.write_text("\n".join(lines) + "\n")
    return path


class LibFann:
    """libfann's own training, through ctypes, as the native create_ann does it."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL("libfann.so.2")
        self.library.fann_create_standard_array.restype = ctypes.c_void_p
        self.library.fann_read_train_from_file.restype = ctypes.c_void_p
        self.library.fann_train_epoch.restype = ctypes.c_float
        self.library.fann_test_data.restype = ctypes.c_float

    def errors(self, rows: Path, limit: int) -> tuple[float, float]:
        """Return the last epoch's error and that of the network it leaves, 161-100-1."""
        sizes = (ctypes.c_uint * 3)(161, 100, 1)
        network = ctypes.c_void_p(self.library.fann_create_standard_array(3, sizes))
        data = ctypes.c_void_p(self.library.fann_read_train_from_file(bytes(rows)))
        last = 1.0
        for _ in range(limit):
            last = self.library.fann_train_epoch(network, data)
            if last <= 1e-5:
                break
        return last, self.library.fann_test_data(network, data)


@pytest.fixture(scope="session")
def libfann() -> LibFann:
    """libfann, if it is installed."""
    try:
        return LibFann()
    except OSError:
        pytest.skip("Debian's libfann2 is not here")


def our_error(rows: Path, limit: int, seed: int, out: Path) -> float:
    """Return the error of the network that the program leaves, run over all rows."""
    main([str(out), str(rows), str(limit), "0.00001", "100"], {"CBNG_SEED": str(seed)})
    some = read_training_rows(rows)
    return float(((load_network(out).run(some.inputs) - some.wanted) ** 2).mean())


def assert_no_worse(libfann: LibFann, rows: Path, limit: int, out: Path) -> None:
    """Compare medians of five seeds: ours with the better of libfann's last epoch and result."""
    ours = statistics.median(our_error(rows, limit, seed, out) for seed in range(5))
    theirs = [libfann.errors(rows, limit) for _ in range(5)]
    best = min(statistics.median(column) for column in zip(*theirs, strict=True))
    assert ours <= best + 1e-5  # both stop at 1e-5


@needs_golden
@pytest.mark.parametrize(("name", "limit"), [("n50", 5), ("n50", 20), ("n400", 8)])
def test_no_worse_than_libfann(name: str, limit: int, libfann: LibFann, tmp_path: Path) -> None:
    """After as many epochs the median error of five seeds is at most libfann's."""
    rows = unpacked(f"{name}/data/main_ann_train.dat.gz", tmp_path)
    assert_no_worse(libfann, rows, limit, tmp_path / "out.fann")


@pytest.mark.slow
@needs_golden
@pytest.mark.parametrize("limit", [5, 10, 20, 50, 150])
@pytest.mark.parametrize("name", ["n50", "n400"])
def test_no_worse_than_libfann_ever(
    name: str, limit: int, libfann: LibFann, tmp_path: Path
) -> None:
    """So it is after few epochs and many."""
    rows = unpacked(f"{name}/data/main_ann_train.dat.gz", tmp_path)
    assert_no_worse(libfann, rows, limit, tmp_path / "out.fann")


@pytest.mark.slow
@pytest.mark.parametrize("limit", [5, 10, 20, 50, 150])
@pytest.mark.parametrize("kind", SYNTHETIC)
def test_no_worse_than_libfann_on(kind: str, limit: int, libfann: LibFann, tmp_path: Path) -> None:
    """So it is on rows that are easy to learn, hard to learn, and without any rule."""
    rows = synthetic(kind, 400, 11, tmp_path / "rows.dat")
    assert_no_worse(libfann, rows, limit, tmp_path / "out.fann")


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    """A seed gives the same bytes again, in whatever order the rows stand; another seed others."""
    rows = synthetic("curved", 60, 3, tmp_path / "rows.dat")
    header, *lines = rows.read_text().splitlines()
    pairs = list(zip(lines[::2], lines[1::2], strict=True))
    random.Random(1).shuffle(pairs)
    other_order = tmp_path / "shuffled.dat"
    other_order.write_text("\n".join([header, *(line for pair in pairs for line in pair)]) + "\n")
    first, again, shuffled, other = (tmp_path / name for name in ("a", "b", "c", "d"))
    run(first, rows, 5, 0, 8)
    run(again, rows, 5, 0, 8, env={"CBNG_SEED": "1"})
    run(shuffled, other_order, 5, 0, 8)
    run(other, rows, 5, 0, 8, env={"CBNG_SEED": "2"})
    assert first.read_bytes() == again.read_bytes() == shuffled.read_bytes()
    assert first.read_bytes() != other.read_bytes()


def test_same_bytes_on_one_processor(tmp_path: Path) -> None:
    """The number of processors, and with it of threads, does not show in the result."""
    rows = synthetic("linear", 1500, 4, tmp_path / "rows.dat")
    processor = min(os.sched_getaffinity(0))
    run(tmp_path / "all", rows, 4, 0, 20)
    run(tmp_path / "one", rows, 4, 0, 20, preexec_fn=lambda: os.sched_setaffinity(0, {processor}))
    assert (tmp_path / "all").read_bytes() == (tmp_path / "one").read_bytes()


def test_prints_what_it_kept(tmp_path: Path) -> None:
    """It prints libfann's lines, and which epoch's weights were kept and their error."""
    (tmp_path / "rows.dat").write_text(ROWS)
    ended = run(tmp_path / "out.fann", tmp_path / "rows.dat", 3, 0, 2)
    assert re.fullmatch(
        r"Inputs: 3  Outputs: 1\n"
        r"Max epochs        3\. Desired error: 0\.0000000000\.\n"
        r"(Epochs            \d\. Current error: 0\.\d{10}\. Bit fail \d\.\n)+"
        r"Kept after        \d\. Current error: 0\.\d{10}\. Bit fail \d\.\n"
        r"Saving file\.\n",
        ended.stdout,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert load_network(tmp_path / "out.fann").sizes == (3, 2, 1)


def test_hidden_layers(tmp_path: Path) -> None:
    """Any number of hidden layers may be named."""
    (tmp_path / "rows.dat").write_text(ROWS)
    run(tmp_path / "out.fann", tmp_path / "rows.dat", 3, 0, 5, 4, 3)
    assert load_network(tmp_path / "out.fann").sizes == (3, 5, 4, 3, 1)


# Training files.


numbers = st.floats(0, 9.999)


@settings(deadline=None)
@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=30))
def test_fixed_width_numbers(rows: list[tuple[float, ...]]) -> None:
    """Numbers read by their digits are those read one by one, to the last bit."""
    lines = [" ".join(f"{value:.10f}" for value in row).encode() for row in rows]
    one_by_one = [[float(word) for word in line.split()] for line in lines]
    ours = fixed_width_numbers(3, lines)
    assert ours is not None
    assert ours.tolist() == one_by_one


@pytest.mark.parametrize(
    "line",
    [b"0.5", b"-0.100000000", b"0.10000000e1", b"0.1234567x90", b"10.000000000", b"0.12345 7890"],
)
def test_numbers_of_other_widths(line: bytes) -> None:
    """What is not a number of the core's width is left to the reader of any numbers."""
    assert fixed_width_numbers(1, [b"0.1234567890", line]) is None


def test_rows_in_canonical_order(tmp_path: Path) -> None:
    """Rows are sorted as bytes, input line first, whatever their numbers' widths."""
    (tmp_path / "x.dat").write_text("3 2 1\n1 2\n0\n0.5 -1e3\n1\n0.5 -1e3\n0\n")
    rows = read_training_rows(tmp_path / "x.dat")
    assert rows.inputs.tolist() == [[0.5, -1000], [0.5, -1000], [1, 2]]
    assert rows.wanted.tolist() == [[0], [1], [0]]


def long_rows(number: str) -> str:
    """Return rows of the core's width, with *number* in line 4."""
    line = "0.1000000000 0.2000000000"
    return f"2 2 1\n{line}\n1.0000000000\n0.3000000000 {number}\n0.0000000000\n"


BAD_ROWS = [
    pytest.param("", "line 1: is empty", id="empty"),
    pytest.param("<html>\n", "line 1: is not 'rows inputs outputs'", id="web page"),
    pytest.param("2 3\n", "line 1: is not", id="short header"),
    pytest.param("0 3 1\n", "line 1: is not", id="no rows"),
    pytest.param("2 3 1\n", "line 2: line 1 promises 2 rows, but there are 0", id="header only"),
    pytest.param(
        ROWS[:-4], "line 5: line 1 promises 2 rows, but there are 1.5", id="cut at a line"
    ),
    pytest.param(ROWS[:-1], "line 5: is cut", id="cut within the last line"),
    pytest.param(ROWS[:-12], "line 4: is cut", id="cut within a line"),
    pytest.param(ROWS + "0 0 0\n0\n", "line 6: line 1 promises 2 rows", id="too many rows"),
    pytest.param(ROWS.replace("0.25 ", ""), "line 2: 2 numbers where 3 belong", id="too few"),
    pytest.param(ROWS.replace("0.25", "1 2"), "line 2: 4 numbers where 3 belong", id="too many"),
    pytest.param(ROWS.replace("\n1.0\n", "\n1.0 1\n"), "line 3: 2 numbers", id="outputs"),
    pytest.param(ROWS.replace("0.125", "0.1_2"), "line 4: there is a number", id="underscore"),
    pytest.param(ROWS.replace("0.125", "nan"), "line 4: a number is not finite", id="NaN"),
    pytest.param(ROWS.replace("0.125", "inf"), "line 4: a number is not finite", id="infinity"),
    pytest.param(ROWS.replace("0.125", "1e39"), "line 4: a number is not finite", id="too large"),
    pytest.param(ROWS.replace("0.125", "0,125"), "line 4: ", id="comma"),
    pytest.param(long_rows("nan000000000"), "line 4: ", id="letters in a long line"),
    pytest.param(long_rows("0.10000000 0"), "line 4: 3 numbers where 2", id="space in a long line"),
]


@pytest.mark.parametrize(("content", "problem"), BAD_ROWS)
def test_bad_rows(content: str, problem: str, tmp_path: Path) -> None:
    """A file that is not what its first line promises is refused, with the line."""
    (tmp_path / "rows.dat").write_text(content)
    with pytest.raises(FormatError) as error:
        read_training_rows(tmp_path / "rows.dat")
    assert str(error.value).startswith(f"{tmp_path}/rows.dat: {problem}")


def test_bad_rows_leave_no_network(tmp_path: Path) -> None:
    """On the command line that is one line and exit status 2, and the old network stays."""
    (tmp_path / "rows.dat").write_text(ROWS[:-4])
    (tmp_path / "out.fann").write_text("old")
    ended = run(tmp_path / "out.fann", tmp_path / "rows.dat", 3, 0, 2)
    assert ended.stderr == (
        f"create_ann: {tmp_path}/rows.dat: line 5: line 1 promises 2 rows, but there are 1.5\n"
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert (tmp_path / "out.fann").read_text() == "old"


# What else can be wrong.


def test_rows_are_missing(tmp_path: Path) -> None:
    """A training file that does not exist is one line, and no network is made."""
    ended = run(tmp_path / "out.fann", tmp_path / "rows.dat", 3, 0, 2)
    assert ended.stderr == (
        f"create_ann: {tmp_path}/rows.dat: cannot be read: No such file or directory\n"
    )
    assert (ended.returncode, list(tmp_path.iterdir())) == (2, [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "kill -9"])
def test_stopped_while_it_trains(number: signal.Signals, tmp_path: Path) -> None:
    """No part of a network gets the name of one, and the one that was there stays."""
    rows = synthetic("noise", 400, 5, tmp_path / "rows.dat")
    (tmp_path / "out.fann").write_text("old")
    command = [*PROGRAM, str(tmp_path / "out.fann"), str(rows), "100000", "0", "100"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as training:
        assert training.stdout
        training.stdout.readline()
        training.send_signal(number)
    assert training.returncode in {-number, 128 + number}
    assert (tmp_path / "out.fann").read_text() == "old"
    left = sorted(path.name for path in tmp_path.iterdir() if not path.name.endswith(".part"))
    assert left == ["out.fann", "rows.dat"]
    assert number == signal.SIGKILL or len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("args", "env", "problem"),
    [
        pytest.param(("3", "0"), {}, "usage: create_ann OUT.fann", id="no hidden layer"),
        pytest.param(("0", "0", "2"), {}, "MAX_EPOCHS: '0'", id="no epochs"),
        pytest.param(("1.5", "0", "2"), {}, "MAX_EPOCHS: '1.5'", id="half an epoch"),
        pytest.param(("3", "nan", "2"), {}, "DESIRED_ERROR: 'nan'", id="error not a number"),
        pytest.param(("3", "-1", "2"), {}, "DESIRED_ERROR: '-1'", id="error below 0"),
        pytest.param(("3", "0", "2", "0"), {}, "HIDDEN: '0'", id="empty layer"),
        pytest.param(("3", "0", "2"), {"CBNG_SEED": "x"}, "CBNG_SEED: 'x'", id="seed"),
        pytest.param(("3", "0", "2"), {"CBNG_SEED": ""}, "CBNG_SEED: ''", id="empty seed"),
        pytest.param(
            ("3", "0", "2"), {"CBNG_START_WEIGHTS": "none.fann"}, "none.fann: cannot", id="start"
        ),
    ],
)
def test_bad_arguments(
    args: tuple[str, ...], env: dict[str, str], problem: str, tmp_path: Path
) -> None:
    """A bad argument or variable is one line that names it, and exit status 2."""
    (tmp_path / "rows.dat").write_text(ROWS)
    ended = run(tmp_path / "out.fann", tmp_path / "rows.dat", *args, env=env)
    assert ended.stderr.startswith(f"create_ann: {problem}")
    assert ended.stderr.count("\n") == 1
    assert ended.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["rows.dat"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param(lambda text: text, "is a network of 3-2-1, not 3-4-1", id="other sizes"),
        pytest.param(lambda text: text[:-50], "line 36: cut or malformed", id="cut"),
    ],
)
def test_bad_start_weights(change: Callable[[bytes], bytes], problem: str, tmp_path: Path) -> None:
    """Start weights of another network, or none, are refused."""
    (tmp_path / "rows.dat").write_text(ROWS)
    start = tmp_path / "start.fann"
    with start.open("wb") as file:
        layers = Layer(np.ones((4, 2), np.float32)), Layer(np.ones((3, 1), np.float32))
        write_network(file, Network(layers))
    start.write_bytes(change(start.read_bytes()))
    env = {"CBNG_START_WEIGHTS": str(start)}
    ended = run(tmp_path / "out.fann", tmp_path / "rows.dat", 3, 0, 4, env=env)
    assert ended.stderr.startswith(f"create_ann: {start}: {problem}")
    assert ended.returncode == 2


def test_unwritable(tmp_path: Path) -> None:
    """A network that cannot be written is found out before training."""
    (tmp_path / "rows.dat").write_text(ROWS)
    ended = run(tmp_path / "no" / "out.fann", tmp_path / "rows.dat", 3, 0, 2)
    assert ended.stderr == (
        f"create_ann: {tmp_path}/no/out.fann: cannot be written: No such file or directory\n"
    )
    assert (ended.returncode, ended.stdout) == (2, "")


def test_full_disk(tmp_path: Path) -> None:
    """When the disk is full, here at 4 KB, one line is all that is left."""
    (tmp_path / "rows.dat").write_text(ROWS)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    ended = run(tmp_path / "out.fann", tmp_path / "rows.dat", 2, 0, 90, preexec_fn=limit)
    assert ended.stderr.startswith(f"create_ann: {tmp_path}/out.fann: cannot be written: ")
    assert ended.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["rows.dat"]
