"""The network: libfann's text format, and running as libfann runs."""

import ctypes
import gzip
import io
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cbngtrain.engine.activation import Activation
from cbngtrain.engine.errors import FormatError
from cbngtrain.engine.network import Floats, Layer, Network, load_network, write_network

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="../shared is not here")

NETWORKS = {
    "shipped": "shipped/main_ann.fann.gz",
    **{f"{name} trained": f"{name}/data/main_ann.fann.gz" for name in ("real", "n50", "n400")},
    **{f"{name} seeded": f"{name}/seeded/main_ann.fann.gz" for name in ("real", "n50", "n400")},
    "n50 start": "n50/seeded/main_ann.fann.init.gz",
}


class LibFann:
    """libfann (Debian's libfann2, 32-bit floats), through ctypes."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL("libfann.so.2")
        self.library.fann_create_from_file.restype = ctypes.c_void_p
        self.library.fann_run.restype = ctypes.POINTER(ctypes.c_float)

    def run(self, path: Path, inputs: Floats) -> Floats:
        """Return the outputs of the network in a file."""
        network = ctypes.c_void_p(self.library.fann_create_from_file(bytes(path)))
        assert network, "libfann does not load it"
        n_outputs = self.library.fann_get_num_output(network)
        rows = [
            self.library.fann_run(network, row.ctypes.data_as(ctypes.c_void_p))[:n_outputs]
            for row in np.ascontiguousarray(inputs, np.float32)
        ]
        self.library.fann_destroy(network)
        return np.array(rows, np.float32)

    def save_scaled(self, path: Path, rows: Path, sizes: tuple[int, ...]) -> None:
        """Save a new network that has the scaling parameters of training rows."""
        pointer, real = ctypes.c_void_p, ctypes.c_float
        self.library.fann_create_standard_array.restype = pointer
        self.library.fann_read_train_from_file.restype = pointer
        layers = (ctypes.c_uint * len(sizes))(*sizes)
        network = pointer(self.library.fann_create_standard_array(len(sizes), layers))
        data = pointer(self.library.fann_read_train_from_file(bytes(rows)))
        bounds = [real(bound) for bound in (-1, 1, 0, 1)]  # of inputs, and of outputs
        assert self.library.fann_set_scaling_params(network, data, *bounds) == 0
        assert self.library.fann_save(network, bytes(path)) == 0
        self.library.fann_destroy_train(data)
        self.library.fann_destroy(network)


@pytest.fixture(scope="session")
def libfann() -> LibFann:
    """libfann, if it is installed."""
    try:
        return LibFann()
    except OSError:
        pytest.skip("Debian's libfann2 is not here")


def written(network: Network, path: Path) -> Path:
    """Write *network* to *path*."""
    with path.open("wb") as file:
        write_network(file, network)
    return path


def unpacked(name: str, directory: Path) -> Path:
    """Return a golden network as a file in *directory*."""
    path = directory / "golden.fann"
    path.write_bytes(gzip.decompress((GOLDEN / name).read_bytes()))
    return path


weights = st.floats(-1500, 1500, width=32)
steepnesses = st.sampled_from([0.5, 0.25, 1.0])


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Networks of one to four layers after the inputs, with any weights."""
    sizes = draw(st.lists(st.integers(1, 7), min_size=2, max_size=5))
    return Network(
        tuple(
            Layer(
                draw(hnp.arrays(np.float32, (n_in + 1, n_out), elements=weights)),
                draw(st.sampled_from(Activation)),
                draw(steepnesses),
            )
            for n_in, n_out in pairwise(sizes)
        )
    )


def same(one: Network, other: Network) -> bool:
    """Tell whether two networks are the same to the last bit."""
    return one.sizes == other.sizes and all(
        (a.activation, a.steepness) == (b.activation, b.steepness)
        and np.array_equal(a.weights, b.weights)
        for a, b in zip(one.layers, other.layers, strict=True)
    )


@settings(deadline=None)
@given(network=networks())
def test_round_trip(network: Network) -> None:
    """Whatever network is written is read back, to the last bit of its weights."""
    with tempfile.TemporaryDirectory() as directory:
        assert same(load_network(written(network, Path(directory, "x.fann"))), network)


@needs_golden
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "shipped"])
def test_writes_as_libfann(name: str, tmp_path: Path) -> None:
    """A network that libfann wrote is written again byte for byte."""
    path = unpacked(NETWORKS[name], tmp_path)
    file = io.BytesIO()
    write_network(file, load_network(path))
    assert file.getvalue() == path.read_bytes()


@needs_golden
@pytest.mark.parametrize("name", NETWORKS)
def test_runs_as_libfann(name: str, libfann: LibFann, tmp_path: Path) -> None:
    """What libfann wrote has libfann's outputs to the last bit, on 300 rows of all kinds."""
    path = unpacked(NETWORKS[name], tmp_path)
    random = np.random.default_rng(1)
    inputs = np.vstack([random.random((150, 161)), random.normal(0, 3, (150, 161))])
    outputs = load_network(path).run(inputs)
    assert np.array_equal(outputs, libfann.run(path, inputs.astype(np.float32)))


@settings(deadline=None, max_examples=60)
@given(network=networks(), seed=st.integers(0, 99))
def test_libfann_runs_ours(network: Network, seed: int, libfann: LibFann) -> None:
    """What we write loads in libfann and runs there to 1e-5 of ours: any layers, any function."""
    inputs = np.random.default_rng(seed).normal(size=(5, network.sizes[0])).astype(np.float32)
    with tempfile.TemporaryDirectory() as directory:
        path = written(network, Path(directory, "x.fann"))
        theirs = libfann.run(path, inputs)
    assert network.run(inputs) == pytest.approx(theirs, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("activation", Activation)
def test_functions_are_libfanns(activation: Activation, libfann: LibFann, tmp_path: Path) -> None:
    """Of sums small and large, each activation function makes what libfann's does."""
    random = np.random.default_rng(3)
    layer = Layer(random.uniform(-3, 3, (4, 20)).astype(np.float32), activation, 0.7)
    spread = np.repeat([0.2, 5.0, 300.0], 100)[:, np.newaxis]
    inputs = (spread * random.uniform(-1, 1, (300, 3))).astype(np.float32)
    theirs = libfann.run(written(Network((layer,)), tmp_path / "x.fann"), inputs)
    assert Network((layer,)).run(inputs) == pytest.approx(theirs, rel=1e-6, abs=1e-6)


def test_scaled_networks_run_unscaled(libfann: LibFann, tmp_path: Path) -> None:
    """Scaling that libfann saved with a network is not applied, as `fann_run` does not."""
    path = tmp_path / "x.fann"
    (tmp_path / "x.dat").write_text("2 3 1\n1 2 3\n0\n4 5 7\n1\n")
    libfann.save_scaled(path, tmp_path / "x.dat", (3, 4, 1))
    inputs = np.random.default_rng(4).normal(size=(9, 3)).astype(np.float32)
    assert b"scale_included=1" in path.read_bytes()
    assert np.array_equal(load_network(path).run(inputs), libfann.run(path, inputs))


def test_a_row_stands_alone() -> None:
    """A row has the same outputs, to the last bit, whichever rows stand beside it."""
    random = np.random.default_rng(2)
    layer = Layer(random.normal(size=(21, 30)).astype(np.float32))
    network = Network((layer, Layer(random.normal(size=(31, 2)).astype(np.float32))))
    inputs = random.random((300, 20))
    together = network.run(inputs)
    assert together.shape == (300, 2)
    assert np.array_equal(np.vstack([network.run(row[np.newaxis]) for row in inputs]), together)


def test_no_rows() -> None:
    """No rows have no outputs."""
    network = Network((Layer(np.ones((4, 2), np.float32)),))
    assert network.run(np.zeros((0, 3))).shape == (0, 2)


def small() -> bytes:
    """Return a sound file: 2 inputs, 3 hidden neurons, 1 output."""
    file = io.BytesIO()
    layers = Layer(np.full((3, 3), 0.5, np.float32)), Layer(np.full((4, 1), -0.25, np.float32))
    write_network(file, Network(layers))
    return file.getvalue()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        pytest.param(small(), b"", "line 1: is not a FANN_FLO_2.1 file", id="empty"),
        pytest.param(small(), b"<html>\n", "line 1: is not a FANN_FLO_2.1 file", id="web page"),
        pytest.param(b"FLO_2.1", b"FIX_2.1", "line 1: is not a", id="fixed point"),
        pytest.param(b"FANN", b"\xff\xfe", "line 1: is not a", id="bytes"),
        pytest.param(b"network_type=0", b"network_type=1", "line 5: network_type", id="shortcut"),
        pytest.param(b"_rate=1.0", b"_rate=0.5", "line 4: connection_rate", id="sparse"),
        pytest.param(b"num_layers=3", b"num_layers=4", "line 2: num_layers", id="layer count"),
        pytest.param(b"sizes=3 4 2 ", b"sizes=3 x 2 ", "line 33: layer_sizes", id="size"),
        pytest.param(b"sizes=3 4 2 ", b"sizes=3 9 2 ", "line 35: the neurons", id="other sizes"),
        pytest.param(b"sizes=3 4 2 ", b"sizes=1 4 2 ", "line 33: every layer", id="no inputs"),
        pytest.param(b"-01) (0, 0, ", b"-02) (0, 0, ", "differ", id="neurons that differ"),
        pytest.param(b"(0, 5.0", b"(1, 5.0", "line 36: the connections", id="other neuron"),
        pytest.param(b"(0, 5.0", b"(0, nan", "line 36: cut or malformed", id="not a number"),
        pytest.param(b"(0, 5.0", b"(0, 5e99", "line 36: cut or malformed", id="garbage"),
        pytest.param(b"(0, 5.00000000000000000000e-01)", b"(0, 1e39)", "32-bit", id="too large"),
        pytest.param(b"e-01) \n", b"e-0", "line 36: cut or malformed", id="cut in the weights"),
        pytest.param(b"num_layers=3\n", b"", "num_layers is missing", id="a line is missing"),
        pytest.param(
            b"sizes=3 4 2 ", b"sizes=3 999999999 2 ", "line 35: the neurons", id="huge size"
        ),
        pytest.param(
            b"(0, 5.0", b"(" + b"9" * 5000 + b", 5.0", "line 36: cut or", id="huge number"
        ),
        pytest.param(
            b"(0, 5.0", b"(0, " + b"9" * 200_000 + b"x", "line 36: cut or", id="long number"
        ),
        pytest.param(b"5.00000000000000000000e-01", b"1e999", "a steepness", id="steepness"),
        pytest.param(b"_zero=", b"_zero", "line 17: unexpected", id="no value"),
    ],
)
def test_malformed(old: bytes, new: bytes, problem: str, tmp_path: Path) -> None:
    """A file that is not as libfann writes it is refused, with the line."""
    path = tmp_path / "x.fann"
    content = small().replace(old, new)
    assert content != small()
    path.write_bytes(content)
    with pytest.raises(FormatError, match=problem) as error:
        load_network(path)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize("line", range(36))
def test_cut(line: int, tmp_path: Path) -> None:
    """A file that ends too early, behind or within any line, is refused."""
    lines = small().splitlines(keepends=True)
    (tmp_path / "behind.fann").write_bytes(b"".join(lines[:line]))
    (tmp_path / "within.fann").write_bytes(b"".join(lines[:line]) + lines[line][:-9])
    with pytest.raises(FormatError):
        load_network(tmp_path / "behind.fann")
    with pytest.raises(FormatError):
        load_network(tmp_path / "within.fann")


def test_unknown_activation(tmp_path: Path) -> None:
    """A network of a function that libfann has not is refused, and which."""
    (tmp_path / "x.fann").write_bytes(small().replace(b", 4, ", b", 18, "))
    with pytest.raises(FormatError, match="activation function 18 is not supported"):
        load_network(tmp_path / "x.fann")


def test_missing(tmp_path: Path) -> None:
    """A file that does not exist is refused."""
    with pytest.raises(FormatError, match=r"x\.fann: cannot be read: No such file"):
        load_network(tmp_path / "x.fann")
