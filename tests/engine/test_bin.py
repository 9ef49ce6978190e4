"""The engine's programs as executables for a PATH."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cbngtrain.engine.bayes import EDIT_TOTALS, write_database

BIN = Path(__file__).parents[2] / "cbngtrain" / "engine" / "bin"
PROGRAMS = ("cluebotng", "create_ann", "create_bayes_db", "print_bayes_db")

PYTHON = Path(sys.executable).parent


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database of one word."""
    path = tmp_path / "x.db"
    write_database(path, {EDIT_TOTALS: (5, 5), b"word": (0, 3)})
    return path


def printed(program: Path | str, database: Path, *path: Path) -> bytes:
    """Return what ``print_bayes_db`` prints, run in / with nothing but a PATH."""
    search = os.pathsep.join([*map(str, path), "/usr/bin", "/bin"])
    command = shutil.which(program, path=search)
    assert command
    ended = subprocess.run(
        [command, database], env={"PATH": search}, cwd="/", capture_output=True, check=False
    )
    assert ended.stderr == b""
    return ended.stdout


def test_every_program() -> None:
    """There is an executable for each program, all of one text."""
    assert sorted(path.name for path in BIN.iterdir()) == sorted(PROGRAMS)
    assert all(os.access(BIN / name, os.X_OK) for name in PROGRAMS)
    assert len({(BIN / name).read_bytes() for name in PROGRAMS}) == 1


@pytest.mark.parametrize("program", PROGRAMS)
def test_runs_its_program(program: str) -> None:
    """Each runs the program of its name, which tells its own usage and exits with 2."""
    ended = subprocess.run(
        [BIN / program],
        env={"PATH": f"{PYTHON}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"usage: {program} " in ended.stderr
    assert ended.returncode == 2


def test_on_a_path(database: Path) -> None:
    """On a PATH, from anywhere, it runs with that PATH's Python."""
    assert printed("print_bayes_db", database, BIN, PYTHON) == b"word 1 0 3\n"


def test_through_a_link(database: Path, tmp_path: Path) -> None:
    """A symbolic link to it works, relative or of another name."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "show").symlink_to(
        os.path.relpath(BIN / "print_bayes_db", tmp_path / "bin")
    )
    assert printed("show", database, tmp_path / "bin", PYTHON) == b"word 1 0 3\n"


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Path]:
    """A virtual environment as pip leaves it, with our package and the libraries of this one."""
    libraries = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    home = tmp_path / "venv with a space"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    packages = home / libraries
    shutil.copytree(BIN.parents[2] / "cbngtrain", packages / "cbngtrain")
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "libraries.pth").write_text("\n".join(ours) + "\n")
    yield packages
    shutil.rmtree(home)


def test_installed(environment: Path, database: Path) -> None:
    """Installed in an environment it runs with its Python, which need not be on the PATH."""
    program = environment / "cbngtrain" / "engine" / "bin" / "print_bayes_db"
    assert printed(str(program), database) == b"word 1 0 3\n"


def test_working_directory_is_not_imported(database: Path, tmp_path: Path) -> None:
    """Files of our modules' names in the working directory are not run."""
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')\n")
    ended = subprocess.run(
        [BIN / "print_bayes_db", database.name],
        env={"PATH": f"{PYTHON}:/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, b"word 1 0 3\n")
