"""What is declared for Toolforge: components, Procfile, packages, settings."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cbngtrain.settings import OTHERS, VARIABLES
from tests.conftest import ROOT
from tests.toolforge_files import ENTRYPOINT, TOOLFORGE, file_settings, procfile, settings_there

NAMES = {variable.name for variable in VARIABLES.values()} | OTHERS

CONFIGURATION: dict[str, Any] = yaml.safe_load((TOOLFORGE / "components.yaml").read_text())
COMPONENTS: dict[str, Any] = CONFIGURATION["components"]

_RUN = {
    "command": {"type": "string", "minLength": 1},
    "cpu": {"type": "string", "pattern": r"^(1|0\.\d+|\d{1,3}m)$"},  # at most 1
    "memory": {"type": "string", "pattern": "^([1-4]Gi|[1-9][0-9]{2,3}Mi)$"},  # at most 4 GiB
    "mount": {"enum": ["none", "all"]},
}
_BUILD = {
    "oneOf": [
        {
            "type": "object",
            "required": ["repository", "ref"],
            "additionalProperties": False,
            "properties": {
                "repository": {"type": "string", "pattern": r"^https://.*\.git$"},
                "ref": {"type": "string", "minLength": 1},
            },
        },
        {
            "type": "object",
            "required": ["reuse_from"],
            "additionalProperties": False,
            "properties": {"reuse_from": {"type": "string"}},
        },
    ]
}


def _component(kind: str, required: list[str], **run: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["component_type", "build", "run"],
        "additionalProperties": False,
        "properties": {
            "component_type": {"const": kind},
            "build": _BUILD,
            "run": {
                "type": "object",
                "required": ["command", "mount", "memory", *required],
                "additionalProperties": False,
                "properties": {**_RUN, **run},
            },
        },
    }


SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["config_version", "components"],
    "additionalProperties": False,
    "properties": {
        "config_version": {"const": "v1beta1"},
        "components": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": "^[a-z0-9]([a-z0-9.-]{0,50}[a-z0-9])?$"},
            "additionalProperties": {
                "oneOf": [
                    _component(
                        "continuous",
                        ["port", "health_check_http"],
                        port={"type": "integer", "minimum": 1, "maximum": 65535},
                        replicas={"type": "integer", "minimum": 1, "maximum": 10},
                        publish={"type": "boolean"},
                        health_check_http={"type": "string", "pattern": "^/"},
                    ),
                    _component(
                        "scheduled",
                        ["schedule", "timeout"],
                        schedule={"type": "string", "pattern": r"^(\S+ ){4}\S+$"},
                        retry={"type": "integer", "minimum": 0, "maximum": 5},
                        timeout={"type": "integer", "minimum": 1},
                    ),
                ]
            },
        },
    },
}
"""``v1beta1`` of the components configuration, with the quotas that a tool has."""


class TestDeclarations:
    """components.yaml and what stands beside it."""

    def test_components_are_what_toolforge_takes(self):
        """The components configuration follows the platform's schema."""
        jsonschema.validate(CONFIGURATION, SCHEMA)

    @pytest.mark.parametrize(
        ("component", "part", "name", "value"),
        [
            ("coordinator", "run", "port", 1),
            ("coordinator", "run", "retry", 6),
            ("coordinator", "run", "cpu", "2"),
            ("coordinator", "run", "memory", "8Gi"),
            ("file-api", "run", "schedule", "1 1 * * *"),
            ("file-api", "run", "mount", "some"),
            ("file-api", "build", "repository", "x"),
        ],
    )
    def test_schema_refuses(self, component: str, part: str, name: str, value: object):
        """The schema is no rubber stamp."""
        bad = yaml.safe_load(yaml.safe_dump(CONFIGURATION))
        bad["components"][component][part][name] = value

        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, SCHEMA)

    def test_reused_builds_exist(self):
        """A component that reuses a build names one that builds."""
        reused = {each["build"].get("reuse_from") for each in COMPONENTS.values()} - {None}

        assert all("repository" in COMPONENTS[name]["build"] for name in reused)

    def test_commands_are_processes(self):
        """Each component runs a process of the Procfile, and each process belongs to one."""
        assert sorted(each["run"]["command"] for each in COMPONENTS.values()) == sorted(procfile())

    @pytest.mark.parametrize("process", sorted(procfile()))
    def test_processes_can_be_run(self, process: str):
        """A process begins with the entry point, and its command exists."""
        entrypoint, *words = procfile()[process]
        command = [word for word in words if not word.startswith("-")]
        asked = {
            "doit": ["doit", "help", "run"],
            "cbng-trainer": ["cbngtrain.cli", *command[1:], "--help"],
        }[command[0]]

        assert entrypoint == "toolforge/entrypoint"
        assert os.access(ENTRYPOINT, os.X_OK)
        subprocess.run([sys.executable, "-m", *asked], check=True, capture_output=True, cwd=ROOT)

    def test_coordinator_is_what_the_build_needs(self):
        """It is started daily, sees no NFS, and is not started twice for one failure."""
        run = COMPONENTS["coordinator"]["run"]

        assert (run["mount"], run["retry"]) == ("none", 0)
        assert re.fullmatch(r"\d+ \d+ \* \* \*", run["schedule"])
        assert run["timeout"] < 24 * 3600

    def test_build_ends_before_it_is_stopped(self):
        """The build knows of the job's timeout, and ends within, with time to spare."""
        deadline = settings_there().deadline

        assert deadline
        assert deadline + 1800 <= COMPONENTS["coordinator"]["run"]["timeout"]

    def test_pruning_sees_the_stores_directory(self):
        """It works on the directory that the file service serves, and so sees NFS."""
        assert COMPONENTS["prune"]["run"]["mount"] == "all"
        assert procfile()["prune"] == ["toolforge/entrypoint", "cbng-trainer", "prune"]
        assert procfile()["file-api"][:1] == procfile()["prune"][:1]

    def test_pods_are_the_tools(self):
        """Steps run as pods of this tool, from an image that Toolforge takes."""
        settings = settings_there()

        assert settings.dispatch == "pods"
        assert str(settings.namespace) == "tool-cluebotng-trainer"
        assert file_settings()["CBNG_CORE_IMAGE"].startswith("tools-harbor.wmcloud.org/")

    def test_file_service_is_where_the_settings_say(self):
        """Component, port and tool are those in the store's URL; its health check is a route."""
        url = file_settings()["CBNG_STORE_URL"]
        run = COMPONENTS["file-api"]["run"]

        assert url == f"http://file-api.tool-cluebotng-trainer.svc.tools.local:{run['port']}"
        assert run["health_check_http"] in (ROOT / "web" / "app.py").read_text()
        assert (run["replicas"], run["publish"], run["mount"]) == (2, True, "all")

    def test_every_variable_is_a_setting(self):
        """Settings.env holds settings, no secret, and the build takes their values."""
        settings = file_settings()
        secret = {variable.name for variable in VARIABLES.values() if variable.is_secret}

        assert set(settings) <= NAMES - secret
        assert settings_there().review_url == settings["CBNG_REVIEW_URL"]

    def test_every_variable_that_is_named_is_a_setting(self):
        """Whatever else is named in the declarations and their scripts is a setting, too."""
        texts = [path.read_text(encoding="utf-8") for path in TOOLFORGE.iterdir()]
        named = set(re.findall(r"\b(?:CBNG|K8S|TOOL|FILE)_[A-Z0-9_]+\b", "".join(texts)))

        assert named <= NAMES


class TestBuild:
    """What the build service reads at the root."""

    def test_requirements_are_what_the_project_needs(self):
        """Every dependency is pinned at a version that the project takes; the project is last."""
        text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
        pinned = re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)
        pins = {canonicalize_name(name): version for name, version in pinned}
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        needed = [Requirement(each) for each in project["dependencies"]]

        assert text.startswith("# Written by .ci/pin")
        assert text.endswith("\n.\n")
        lacking = [each.name for each in needed if canonicalize_name(each.name) not in pins]
        assert lacking == []
        assert all(pins[canonicalize_name(each.name)] in each.specifier for each in needed)

    def test_packages_are_where_the_requirements_look(self):
        """Berkeley DB is unpacked for certain, so that its header is where pip is told."""
        project = tomllib.loads((ROOT / "project.toml").read_text(encoding="utf-8"))
        install = project["com"]["heroku"]["buildpacks"]["deb-packages"]["install"]

        assert {"name": "libdb5.3-dev", "force": True} in install
        assert "/layers/heroku_deb-packages/packages/usr/include" in (
            ROOT / "requirements.txt"
        ).read_text(encoding="utf-8")

    @pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not here")
    def test_entrypoint_is_sound_shell(self):
        """Shellcheck finds nothing to say."""
        checked = subprocess.run(["shellcheck", ENTRYPOINT], check=False, capture_output=True)

        assert checked.stdout == b""

    def test_python_is_supported(self):
        """The image's Python is one that CI tests."""
        version = (ROOT / ".python-version").read_text(encoding="ascii").strip()

        assert f'"{version}"' in (ROOT / ".github" / "workflows" / "ci.yml").read_text()
