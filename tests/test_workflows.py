"""GitHub's workflows: pinned, with the least rights, and nothing untrusted in a shell."""

import re
import runpy
import subprocess
import sysconfig
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cbngtrain.dispatch import manifest
from cbngtrain.image import Image
from tests.conftest import ROOT
from tests.dispatch.conftest import TOKEN

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))

TRUSTED = {"matrix.python", "github.token", "github.workflow", "github.ref"}
"""Expressions that may be used; each is ours, or a name that git restricts and no shell sees."""

every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def parsed(path: Path) -> dict[str, Any]:
    """A workflow; YAML 1.1 reads its key ``on`` as True."""
    value = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return {"on" if key is True else key: each for key, each in value.items()}


def steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every step of every job."""
    for job in workflow["jobs"].values():
        yield from job["steps"]


def test_there_are_workflows():
    """Tests, image and release."""
    assert [path.stem for path in WORKFLOWS] == ["ci", "image", "release"]


@every_workflow
def test_actions_are_pinned(path: Path):
    """An action is named by its commit, with the version beside it, the same in all workflows."""
    used = re.findall(r"uses: (\S+)(.*)", path.read_text(encoding="utf-8"))

    assert len(used) == sum("uses" in step for step in steps(parsed(path)))
    for action, comment in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action), "GitHub's own, by commit"
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment)


def test_an_action_has_one_version():
    """No workflow uses another version than its neighbour."""
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    pins = set(re.findall(r"uses: ([^@\s]+)@(\S+)", text))

    assert len(pins) == len({name for name, _ in pins})


@every_workflow
def test_rights_are_the_least(path: Path):
    """A workflow has no rights; a job has those that it says, and writes only where it must."""
    workflow = parsed(path)
    writes = {
        (name, right)
        for name, job in workflow["jobs"].items()
        for right, level in job["permissions"].items()
        if level != "read"
    }

    assert workflow["permissions"] == {}
    assert writes <= {("image", "packages"), ("release", "contents")}
    assert not {"pull_request_target", "workflow_run"} & set(workflow["on"])
    for step in steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@every_workflow
def test_no_expression_is_in_a_shell_line(path: Path):
    """What GitHub fills in reaches a shell as a variable; and it is of what is known to be ours."""
    text = path.read_text(encoding="utf-8")

    assert set(re.findall(r"\$\{\{ *(\S+) *\}\}", text)) <= TRUSTED
    assert all("${{" not in step.get("run", "") for step in steps(parsed(path)))
    assert "github.ref" not in "".join(map(str, steps(parsed(path))))


@every_workflow
def test_jobs_end(path: Path):
    """A job has a name, a time after which it is stopped, and a system that is named."""
    for job in parsed(path)["jobs"].values():
        assert job["name"]
        assert 0 < job["timeout-minutes"] <= 120
        assert re.fullmatch(r"ubuntu-\d\d\.\d\d", job["runs-on"])


@every_workflow
def test_scripts_are_sound(path: Path, tmp_path: Path):
    """Shell that a workflow holds passes shellcheck, and the files that it calls are there."""
    for step in steps(parsed(path)):
        if "run" in step:
            script = tmp_path / "run.sh"
            script.write_text(f"#!/usr/bin/env bash\nset -e\n{step['run']}\n", encoding="utf-8")
            checked = subprocess.run(
                ["shellcheck", str(script)], capture_output=True, text=True, check=False
            )
            assert checked.returncode == 0, checked.stdout
            called = re.findall(r"(?<!\S)(\.(?:ci|github)/\S+)", step["run"])
            assert all((ROOT / name).exists() for name in called)


@pytest.mark.parametrize("name", ["cluster", "image"])
def test_scripts_beside_the_workflows_are_sound(name: str):
    """So do what makes the image, and what starts a cluster."""
    checked = subprocess.run(
        ["shellcheck", str(GITHUB / name)], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout


def run(program: str, *words: object) -> "subprocess.CompletedProcess[str]":
    """Run a program that a package of this Python brought with it."""
    path = Path(sysconfig.get_path("scripts")) / program
    command = [str(path), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_actionlint_finds_nothing():
    """Every key is one that GitHub knows, every expression is well typed, every script is sound."""
    checked = run("actionlint", *WORKFLOWS)

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("runs-on:", "run-on:"),
        ("timeout-minutes: 90", "timeout-minutes: soon"),
        ("${{ matrix.python }}", "${{ matrix.pyhton }}"),
        ("contents: read", "contents: look"),
        ("bash .ci/run", "bash $RUN"),
    ],
)
def test_actionlint_finds_what_is_wrong(right: str, wrong: str, tmp_path: Path):
    """It is no rubber stamp."""
    text = (GITHUB / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert right in text
    path = tmp_path / "ci.yml"
    path.write_text(text.replace(right, wrong), encoding="utf-8")

    assert run("actionlint", path).returncode == 1


def test_updates_follow_their_schema():
    """So does the declaration of updates, which actionlint does not read."""
    path = GITHUB / "dependabot.yml"
    checked = run("check-jsonschema", "--builtin-schema", "vendor.dependabot", path)

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_cluster_is_what_its_tests_want():
    """The namespace's secret is the one that pods name; the image is one that we can name."""
    declared = yaml.safe_load((ROOT / "tests/dispatch/namespace.yaml").read_text(encoding="utf-8"))
    (secret,) = (each for each in declared["items"] if each["kind"] == "Secret")
    script = (GITHUB / "cluster").read_text(encoding="utf-8")
    (registry,) = re.findall(r"\bthere=(\S+)", script)

    assert manifest.TOKEN["valueFrom"] == {
        "secretKeyRef": {
            "name": secret["metadata"]["name"],
            "key": next(iter(secret["stringData"])),
        }
    }
    assert secret["stringData"] == {"FILE_API_KEY": TOKEN}
    assert Image.parse(f"{registry}/cbngtrain@sha256:{'0' * 64}").digest
    assert set(re.findall(r'echo "(\w+)=', script)) == {
        "CBNG_TEST_KUBECONFIG", "CBNG_CLUSTER_HOST", "CBNG_TEST_IMAGE",
    }  # fmt: skip


def test_images_are_pinned():
    """What the scripts beside the workflows fetch and run is named by its digest."""
    script = (GITHUB / "cluster").read_text(encoding="utf-8")
    (image,) = re.findall(r"(?m)^registry=(\S+)$", script)

    assert re.fullmatch(r"registry:\d+\.\d+\.\d+@sha256:[0-9a-f]{64}", image)
    assert re.findall(r"docker run [^\n]*\\\n[^\n]*", script)[0].split()[-2] == '"$registry"'


def test_zizmor_finds_nothing():
    """Nor does an auditor of workflows, at its most pedantic, offline."""
    audited = run("zizmor", "--offline", "--no-config", "--quiet", "--persona", "pedantic", GITHUB)

    assert audited.returncode == 0, audited.stdout + audited.stderr


def test_every_supported_python_is_tested():
    """CI has the Pythons from the oldest that the package supports, without a gap."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pythons = parsed(GITHUB / "workflows" / "ci.yml")["jobs"]["test"]["strategy"]["matrix"][
        "python"
    ]
    first = int(project["requires-python"].removeprefix(">=3."))

    assert pythons == [f"3.{first + n}" for n in range(len(pythons))]
    assert len(pythons) >= 3


def test_updates_are_asked_for():
    """Of actions and of packages, in groups, not in the hour of their release."""
    config = yaml.safe_load((GITHUB / "dependabot.yml").read_text(encoding="utf-8"))

    assert config["version"] == 2
    asked = {each["package-ecosystem"]: each for each in config["updates"]}
    assert set(asked) == {"github-actions", "pip"}
    for each in asked.values():
        assert set(each) == {"package-ecosystem", "directory", "schedule", "cooldown", "groups"}
        assert each["cooldown"]["default-days"] >= 7


# Releases --------------------------------------------------------------------------------------

CHANGELOG = """# Changelog

## [Unreleased]

- not yet

## [1.2.0] - 2026-01-31

### Added

- a thing, since it was lacking

## [1.1.0] - 2025-12-31

- an older thing

[1.2.0]: https://example.org
"""


@pytest.fixture
def release(tmp_path: Path) -> Callable[[str], str]:
    """What is printed of a tag, of a project in version 1.2.0."""
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n', encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    main = runpy.run_path(str(GITHUB / "release_notes.py"))["main"]
    return lambda tag: str(main(tag, tmp_path))


def test_release_tells_its_part_of_the_changelog(release: Callable[[str], str]):
    """No more, no less."""
    assert release("v1.2.0") == "### Added\n\n- a thing, since it was lacking"


@pytest.mark.parametrize("tag", ["v1.1.0", "1.2.0", "v1.2.0-rc1", ""])
def test_release_needs_the_version_of_the_package(release: Callable[[str], str], tag: str):
    """A tag that is not the package's version stops the release."""
    with pytest.raises(SystemExit, match=r"pyproject.toml has version 1\.2\.0"):
        release(tag)


def test_release_needs_an_entry(release: Callable[[str], str], tmp_path: Path):
    """A version of which nothing is told stops the release."""
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n", encoding="utf-8")

    with pytest.raises(SystemExit, match="nothing below"):
        release("v1.2.0")


def test_changelog_is_in_its_form():
    """Keep a Changelog's: versions newest first, known kinds, an entry below each."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"(?m)^## (.+)$", text)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}

    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", each) for each in headings[1:])
    assert set(re.findall(r"(?m)^### (.+)$", text)) <= kinds
    assert not re.search(r"(?m)^### .+\n+(?:#|\Z)", text)
