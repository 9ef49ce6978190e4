"""Who may import whom: DESIGN §5 as a table."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

LAYERS = (
    "errors",
    "image",
    "parse",
    "step",
    "canonical",
    "settings",
    "places",
    "dump",
    "review",
    "recipes",
    "plan",
    "disk",
    "blobs",
    "instances",
    "store",
    "pins",
    "retention",
    "inventory",
    "prune",
    "verify",
    "http_client",
    "http_store",
    "promote",
    "toolforge_api",
    "locks",
    "scratch",
    "stopping",
    "last_answers",
    "answers",
    "build",
    "publish",
    "reference",
    "spread",
    "summary",
    "watching",
    "reporter",
    "tasks",
    "doit_command",
    "dispatch.deadline",
    "dispatch.local",
    "dispatch.registry",
    "dispatch.programs",
    "dispatch.split",
    "dispatch.script",
    "dispatch.manifest",
    "dispatch.classify",
    "dispatch.prune",
    "dispatch.slots",
    "dispatch.elsewhere",
    "dispatch.tries",
    "dispatch.stopping",
    "dispatch.cluster",
    "dispatch.reflector",
    "dispatch.pod_log",
    "dispatch.attendant",
    "dispatch.pods",
    "dispatch.toolforge_jobs",
    "dispatch.job_attendant",
    "dispatch.jobs",
    "launch",
    "compose",
    "build_commands",
    "look_commands",
    "deploy",
    "evaluation_commands",
    "deploy_commands",
    "audit",
    "upkeep",
    "cli",
)
"""A module of cbngtrain imports only what stands above it."""

PROGRAMS = ("engine", "evaluation")
"""Programs of their own: they import nothing of the rest, and nobody imports them."""

LIBRARIES = {
    "doit": (
        "dodo.py",
        "cbngtrain/doit_command.py",
        "cbngtrain/reporter.py",
        "cbngtrain/tasks.py",
        "cbngtrain/build_commands.py",
    ),
    "falcon": ("web/",),
    "numpy": ("cbngtrain/engine/", "cbngtrain/evaluation/"),
    "kubernetes": ("cbngtrain/dispatch/cluster.py",),
    "requests": (
        "cbngtrain/review.py",
        "cbngtrain/http_client.py",
        "cbngtrain/http_store.py",
        "cbngtrain/dispatch/",
        "cbngtrain/toolforge_api.py",
        "cbngtrain/deploy.py",
    ),
    "berkeleydb": ("cbngtrain/canonical.py", "cbngtrain/engine/"),
}
"""A library is imported only where it is owned."""


def sources() -> list[str]:
    """Every Python file of ours but the tests, as seen from the root."""
    folders = [ROOT / "cbngtrain", ROOT / "web"]
    found = [path for folder in folders for path in folder.rglob("*.py")]
    return sorted(str(path.relative_to(ROOT)) for path in [*found, ROOT / "dodo.py"])


def module(path: str) -> str:
    """The name of the module in a file."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {module(path) for path in sources()}


@cache
def imported(path: str) -> set[str]:
    """The names of all that a file imports, at its top or anywhere else."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            inner = {f"{base}.{alias.name}" for alias in node.names} & MODULES
            found |= inner or {base}
    return found


def own(path: str) -> set[str]:
    """The modules of cbngtrain that a file imports, without the package's name."""
    names = {name for name in imported(path) if name.split(".")[0] == "cbngtrain"}
    return {name.removeprefix("cbngtrain.") for name in names} - {"cbngtrain"}


def files(*folders: str) -> list[str]:
    """The files below one of *folders*."""
    return [path for path in sources() if path.startswith(folders)]


PROGRAM_FILES = files(*(f"cbngtrain/{program}/" for program in PROGRAMS))
LAYERED = [
    path for path in files("cbngtrain/") if path not in PROGRAM_FILES and module(path) in MODULES
]


@pytest.mark.parametrize("path", [path for path in LAYERED if not path.endswith("__init__.py")])
def test_module_imports_only_what_stands_above_it(path: str):
    """Data flows one way; a new module gets its place in the table."""
    name = module(path).removeprefix("cbngtrain.")

    assert name in LAYERS, f"give {name} its place in LAYERS"
    assert own(path) <= set(LAYERS[: LAYERS.index(name)])


@pytest.mark.parametrize("path", [path for path in LAYERED if path.endswith("__init__.py")])
def test_packages_import_nothing(path: str):
    """A package's own file holds no code."""
    assert imported(path) == set()


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_import_nothing_of_the_rest(program: str):
    """The engine and the evaluation meet the rest on a command line."""
    found = {name for path in files(f"cbngtrain/{program}/") for name in own(path)}

    assert {name for name in found if name.split(".")[0] != program} == set()


@pytest.mark.parametrize("path", [path for path in sources() if path not in PROGRAM_FILES])
def test_nobody_imports_the_programs(path: str):
    """Nothing outside them imports the engine or the evaluation."""
    assert {name for name in own(path) if name.split(".")[0] in PROGRAMS} == set()


@pytest.mark.parametrize("path", files("cbngtrain/"))
def test_cbngtrain_never_imports_web(path: str):
    """The file service imports cbngtrain, not the other way round."""
    assert {name for name in imported(path) if name.split(".")[0] in {"web", "dodo"}} == set()


@pytest.mark.parametrize("library", LIBRARIES)
def test_library_is_imported_only_where_it_is_owned(library: str):
    """No other module knows which library does the work."""
    users = [
        path for path in sources() if library in {name.split(".")[0] for name in imported(path)}
    ]

    assert [path for path in users if not path.startswith(LIBRARIES[library])] == []


def test_every_import_is_seen(tmp_path: Path):
    """The reader of imports finds modules of packages, and imports inside functions."""
    path = tmp_path / "x.py"
    path.write_text(
        "from cbngtrain import dump\nfrom cbngtrain.errors import TrainerError\n"
        "def f():\n    import numpy.linalg as n\n    from web.app import get_app\n",
        encoding="utf-8",
    )

    assert imported(str(path)) == {
        "cbngtrain.dump", "cbngtrain.errors", "numpy.linalg", "web.app",
    }  # fmt: skip


def test_command_line_starts_without_heavy_libraries():
    """``cbng-trainer --help`` waits for neither numpy nor falcon nor kubernetes."""
    program = (
        "import sys, cbngtrain.cli\n"
        "print(sorted({'numpy', 'falcon', 'kubernetes', 'matplotlib'} & set(sys.modules)))"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )

    assert ended.stdout == "[]\n"
