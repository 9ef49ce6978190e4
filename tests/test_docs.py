"""The documentation tells what is so, and its commands do what it shows."""

import gzip
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest
import yaml

from cbngtrain import errors
from cbngtrain.canonical import FORMS, digest_of
from cbngtrain.recipes import BAYES_DB
from cbngtrain.review import EditGroup
from cbngtrain.step import (
    Artifact,
    Fingerprint,
    Made,
    Record,
    Step,
    canonical_json,
    fingerprint,
)
from tests.conftest import ROOT
from tests.pages import (
    DOCS,
    PAGES,
    PORT,
    Desk,
    beginning,
    checkout,
    environment,
    free_port,
    matches,
    name_of,
    normalised,
    recordings,
    walk,
)
from tests.toolforge_standin import make_certificates, toolforge

WALKED = [page for page in PAGES if beginning(page) not in {"", "cluster"}]
QUICK = {"rotate-the-token", "fingerprints"}
"""Pages whose commands take a few seconds together; the others build, and are slow."""

# Links -----------------------------------------------------------------------------------------


def links(page: Path) -> list[str]:
    """Where a page's links lead, without addresses on the web."""
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [link for link in found if "://" not in link]


def anchors(page: Path) -> set[str]:
    """What a link into *page* can lead to: its headings, as GitHub writes them."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", each).strip().lower().replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "CHANGELOG.md"],
                         ids=lambda page: page.stem)  # fmt: skip
def test_links_lead_somewhere(page: Path):
    """A link leads to a file of this repository, and there to a heading."""
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_index_links_every_page():
    """The index lists every page."""
    listed = {(DOCS / link).resolve() for link in links(DOCS / "README.md")}

    assert set(PAGES) - {DOCS / "README.md"} <= listed


# Reference -------------------------------------------------------------------------------------


def generator() -> ModuleType:
    """docs/reference/generate.py."""
    found = spec_from_file_location("generate", DOCS / "reference" / "generate.py")
    assert found
    assert found.loader
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_reference_is_what_the_code_says():
    """Settings, commands, errors, requests and formats; if not: docs/reference/generate.py."""
    generate = generator()
    marked = set()
    for page in (DOCS / "reference").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert generate.written(text) == text, "run: python docs/reference/generate.py"
        marked |= set(re.findall(r"<!-- generated: (\w+) -->", text))

    assert marked == set(generate.TABLES)


def first_cells(text: str) -> list[str]:
    """The first cells of the first table in *text*, without backticks."""
    table = text[text.index("\n| ") :].split("\n\n", 1)[0]
    rows = table.strip().splitlines()[2:]
    return [cell for row in rows for cell in re.split("[`, ]+", row.split("|")[1]) if cell]


def test_every_exit_status_is_told():
    """The statuses of every error, and those of shells, are explained."""
    page = (DOCS / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    statuses = {each.status for each in vars(errors).values()
                if isinstance(each, type) and issubclass(each, errors.TrainerError)}  # fmt: skip

    assert {int(cell) for cell in first_cells(page)} == {0, 130, 143} | statuses


def test_formats_are_those_of_the_code():
    """Fields of edit groups, of dumps and of records are the ones that there are."""
    page = (DOCS / "reference" / "file-formats.md").read_text(encoding="utf-8")
    groups, dumps = (page.split(f"## {name}\n", 1)[1] for name in ("Edit groups", "Dumps"))
    with gzip.open(ROOT / "sample" / "dumps" / "2.xml.gz", "rt", encoding="utf-8") as file:
        edit = ET.fromstring(file.read()).find("WPEdit")
    assert edit is not None
    record = re.search(r"It has (.*?)\. It holds", page, re.DOTALL)
    assert record

    assert first_cells(groups) == [each.name for each in fields(EditGroup)]
    assert set(first_cells(dumps)) == {child.tag for child in edit} | {"EditDB"}
    named = set(re.findall(r"`(\w+)`", record[1]))
    nouns = {each.name for each in fields(Record)} | {each.name for each in fields(Artifact)}
    assert named == nouns


def test_worked_example_is_what_the_trainer_computes(tmp_path: Path):
    """The digests, meanings and the fingerprint that the page works out by hand are the code's."""
    page = (DOCS / "fingerprints.md").read_text(encoding="utf-8")
    words = re.findall(r"printf '(0 _EDIT[^']+|1 _EDIT[^']+)' >", page)
    first, second = (tmp_path / name for name in ("first", "second"))
    for path, text in zip((first, second), words, strict=True):
        path.write_text(text.replace("\\n", "\n"), encoding="utf-8")
    meaning = FORMS["lines"](first)
    step = Step(recipe=BAYES_DB, slug="any", program={"core": "sha256:" + "0" * 64}, conf=None,
                parameters=BAYES_DB.parameters)  # fmt: skip
    read = Artifact("main_bayes_train.dat", digest_of(first), meaning, first.stat().st_size)
    inputs = {"data/main_bayes_train.dat": Made(read, Fingerprint("0" * 64))}

    assert f"{digest_of(first)}  first.dat\n{digest_of(second)}  second.dat" in page
    assert page.count(f"{meaning}  -") == 2
    assert canonical_json(step.parts(inputs)).decode() in page
    assert f"{fingerprint(step, inputs)}  -" in page


# Recordings ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def built_sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which `doit` has built the sample, to be copied."""
    home = tmp_path_factory.mktemp("built")
    path = checkout(home / "checkout")
    subprocess.run([sys.executable, "-m", "doit"], cwd=path, env=environment(home), check=True,
                   capture_output=True)  # fmt: skip
    return path


def clone(path: Path) -> dict[str, str]:
    """Add the trainer itself to a checkout, as a clone has it; the variables that have it used."""
    for name in ("cbngtrain", "web"):
        shutil.copytree(ROOT / name, path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return {"PYTHONPATH": str(path)}


@contextmanager
def on_toolforge(home: Path) -> Iterator[dict[str, str]]:
    """Be the tool on a bastion, with Toolforge's API near; the variables that say so."""
    certificates = make_certificates(home / "certificates")
    crt, key = certificates.pair("tool")
    user = {"client-certificate": str(crt), "client-key": str(key)}
    cluster = {
        "server": "https://k8s.example:6443",
        "certificate-authority": str(certificates.authority),
    }
    config = {
        "current-context": "toolforge",
        "contexts": [{"name": "toolforge", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    (home / ".kube").mkdir()
    (home / ".kube" / "config").write_text(yaml.safe_dump(config), encoding="utf-8")
    with toolforge(certificates) as standin:
        standin.envvars["FILE_API_KEY"] = "one-from-before"
        yield {
            "TOOL_TOOLFORGE_API_URL": standin.url,
            "CBNG_TOOLFORGE_CA": str(certificates.authority),
        }


@pytest.fixture
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """Where the page's commands are typed."""
    begins = beginning(request.param)
    path, home = tmp_path / "cbngtrain", tmp_path / "home"
    home.mkdir()
    with ExitStack() as stack:
        more: dict[str, str] = {}
        if begins in {"built", "clone"}:
            shutil.copytree(request.getfixturevalue("built_sample"), path, symlinks=True)
        else:
            checkout(path)
        if begins == "clone":
            more = clone(path)
        if begins == "toolforge":
            more = stack.enter_context(on_toolforge(home))
        sitting = Desk(path, home, more, {PORT: free_port()})
        yield sitting
        sitting.leave()


def walks() -> list[object]:
    """The pages with commands, twice as parameters: for the test, and for its desk."""
    return [
        pytest.param(page, page, id=name_of(page),
                     marks=[] if page.stem in QUICK else [pytest.mark.slow])
        for page in WALKED
    ]  # fmt: skip


@pytest.mark.parametrize(("page", "desk"), walks(), indirect=["desk"])
def test_commands_do_what_the_page_shows(page: Path, desk: Desk):
    """Every command of the page, in order, ends and says as shown."""
    walk(page, desk)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_is_run(page: Path):
    """A page that shows commands says what they begin from, so that they are run."""
    text = page.read_text(encoding="utf-8")
    blocks = re.split(r"(?m)^```", text)

    assert beginning(page) in {"", "checkout", "built", "clone", "toolforge", "cluster"}
    assert ("```console" in text) == bool(beginning(page))
    assert not any(block.startswith(("sh\n", "bash\n", "shell\n")) for block in blocks)
    assert not re.search(r"(?m)^ {4}", "".join(blocks[::2])), "a block that is not fenced"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "toolforge" / "README.md"],
                         ids=lambda page: str(page.relative_to(ROOT)))  # fmt: skip
def test_commands_that_are_named_exist(page: Path):
    """A command and its options, where a sentence or a table names them, are in the reference."""
    reference = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
    sections = {text.split("\n")[0]: text for text in reference.split("\n### ")[1:]}
    named = re.findall(r"`cbng-trainer\s([a-z][a-z-]*)([^`]*)`", page.read_text(encoding="utf-8"))
    option = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")

    unknown = {
        f"{name}{more}"
        for name, more in named
        if not set(option.findall(more)) <= set(option.findall(sections[name]))
    }
    assert unknown == set()


def test_a_recording_that_is_wrong_is_noticed():
    """What is shown is compared line by line, with times and digests aside."""
    page = "```console\n$ a\none 2 s\n…\nlast\n$ b \\\n  c  # exit status 3\n```\n"
    first, second = recordings(page)

    assert (first.command, first.output) == ("a", ["one 2 s", "…", "last"])
    assert (second.command, second.status) == ("b \\\n  c  # exit status 3", 3)
    shown = [normalised(line) for line in first.output]
    assert matches(shown, [normalised("one 15.3 s"), "between", "last"])
    assert not matches(shown, [normalised("one 15.3 s"), "last", "after"])
    assert not matches(shown, ["two N s", "last"])
    assert matches(["a … c"], ["a b c"])
    assert not matches(["a … c"], ["a b d"])
