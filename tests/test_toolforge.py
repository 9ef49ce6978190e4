"""What is declared for Toolforge: components, Procfile, packages, settings, the entry point."""

import base64
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cbngtrain.settings import OTHERS, VARIABLES, Settings
from tests.conftest import ROOT

TOOLFORGE = ROOT / "toolforge"
ENTRYPOINT = TOOLFORGE / "entrypoint"

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


def file_settings() -> dict[str, str]:
    """The settings in settings.env."""
    text = (TOOLFORGE / "settings.env").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def settings_there() -> Settings:
    """The settings of what runs on Toolforge: those of the file, and a secret."""
    return Settings.from_env({**file_settings(), "FILE_API_KEY": "sesame"})


def procfile() -> dict[str, list[str]]:
    """The processes of the Procfile, as words."""
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    return {name: shlex.split(command) for name, command in (line.split(": ", 1) for line in lines)}


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


def pem(what: str, path: Path) -> str:
    """A certificate or key of the shape that Kubernetes gives."""
    body = base64.b64encode(what.encode() * 9).decode()
    text = f"-----BEGIN {what}-----\n{body}\n-----END {what}-----\n"
    path.write_text(text, encoding="ascii")
    return text


class TestEntrypoint:
    """``toolforge/entrypoint``."""

    @pytest.fixture
    def env(self, tmp_path: Path) -> dict[str, str]:
        """A pod's environment, with the variables that `setup-secrets` makes."""
        (tmp_path / "home").mkdir()
        pem("CERTIFICATE", tmp_path / "pod-ca.crt")
        return {
            "PATH": os.environ["PATH"],  # noqa: TID251 - a test's own
            "HOME": str(tmp_path / "home"),
            "TMPDIR": str(tmp_path),
            "POD_CA": str(tmp_path / "pod-ca.crt"),
            "K8S_SERVER": "https://k8s.example:6443",
            "K8S_CLIENT_CRT": pem("CERTIFICATE", tmp_path / "crt"),
            "K8S_CLIENT_KEY": pem("PRIVATE KEY", tmp_path / "key"),
        }

    def run(
        self, env: dict[str, str], *command: str, cluster: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run the entry point."""
        flag = ["--cluster"] if cluster else []
        return subprocess.run(
            [ENTRYPOINT, *flag, *command], check=False, env=env, capture_output=True, text=True,
            timeout=20,
        )  # fmt: skip

    def config(self, env: dict[str, str]) -> dict[str, Any]:
        """The kubeconfig that the command finds."""
        ended = self.run(env, "sh", "-c", 'cat "$KUBECONFIG"')
        assert ended.returncode == 0, ended
        found: dict[str, Any] = yaml.safe_load(ended.stdout)
        return found

    def test_kubeconfig_of_the_variables(self, env: dict[str, str]):
        """Server, certificate and key are what the variables say, and TLS is verified."""
        found = self.config(env)

        cluster, user = found["clusters"][0]["cluster"], found["users"][0]["user"]
        decoded = {name: base64.b64decode(user[name]).decode().rstrip("\n") for name in user}
        assert cluster["server"] == env["K8S_SERVER"]
        assert "insecure-skip-tls-verify" not in cluster
        authority = base64.b64decode(cluster["certificate-authority-data"])
        assert authority == Path(env["POD_CA"]).read_bytes()
        assert decoded == {
            "client-certificate-data": env["K8S_CLIENT_CRT"].rstrip("\n"),
            "client-key-data": env["K8S_CLIENT_KEY"].rstrip("\n"),
        }

    def test_kubernetes_client_verifies_with_it(self, env: dict[str, str], tmp_path: Path):
        """The official client takes the kubeconfig, and verifies the server by its authority."""
        program = (
            "from kubernetes import client, config\n"
            "config.load_kube_config()\n"
            "made = client.Configuration.get_default_copy()\n"
            "print(made.host, made.verify_ssl, open(made.ssl_ca_cert).read(), end='')"
        )

        ended = self.run(env, sys.executable, "-c", program)

        authority = (tmp_path / "pod-ca.crt").read_text()
        assert ended.stdout == f"{env['K8S_SERVER']} True {authority}", ended.stderr

    def test_kubeconfig_is_for_this_user_alone(self, env: dict[str, str]):
        """Its mode is 600, and nothing half-written lies beside it."""
        ended = self.run(env, "sh", "-c", 'stat -c %a "$KUBECONFIG"; ls "$(dirname "$KUBECONFIG")"')

        assert ended.stdout.split() == ["600", "build-here", "kubeconfig"]

    def test_key_is_never_told(self, env: dict[str, str]):
        """Neither what is printed nor what a trace of the script's programs shows has the key."""
        marker = env["K8S_CLIENT_KEY"].splitlines()[1]

        ended = self.run(env, "true")
        traced = subprocess.run(
            ["strace", "-f", "-s", "100000", "-e", "trace=execve", ENTRYPOINT, "--cluster", "true"],
            check=False, env=env, capture_output=True, text=True,
        ) if (Path("/usr/bin/strace")).exists() else None  # fmt: skip

        assert (ended.stdout, ended.stderr) == ("", "")
        assert traced is None or marker not in re.sub(r"/\* \d+ vars \*/", "", traced.stderr)

    def test_own_authority_wins(self, env: dict[str, str], tmp_path: Path):
        """K8S_CA_CRT is used where it is set."""
        own = pem("OTHER CERTIFICATE", tmp_path / "own")

        data = self.config({**env, "K8S_CA_CRT": own})["clusters"][0]["cluster"]

        assert base64.b64decode(data["certificate-authority-data"]).decode().strip() == own.strip()

    def test_no_authority_is_refused(self, env: dict[str, str], tmp_path: Path):
        """Without an authority there is no kubeconfig: TLS is never left unverified."""
        ended = self.run({**env, "POD_CA": str(tmp_path / "none")}, "true")

        assert ended.returncode == 12
        assert "no certificate authority" in ended.stderr

    @pytest.mark.parametrize("name", ["K8S_SERVER", "K8S_CLIENT_CRT", "K8S_CLIENT_KEY"])
    def test_lacking_variable_is_named(self, env: dict[str, str], name: str):
        """What is not set is told, and how to set it."""
        ended = self.run({**env, name: ""}, "true")

        assert ended.returncode == 12
        assert f"{name} not set: run cbng-trainer setup-secrets" in ended.stderr

    @pytest.mark.parametrize(
        "server", ["http://k8s.example", 'https://x"}\nusers: []', "https://a b", "file:///etc"]
    )
    def test_server_that_is_no_https_url_is_refused(self, env: dict[str, str], server: str):
        """A server's name cannot break out of the kubeconfig, nor be spoken to in the clear."""
        ended = self.run({**env, "K8S_SERVER": server}, "true")

        assert (ended.returncode, ended.stdout) == (12, "")
        assert "no https:// URL" in ended.stderr

    def test_kubeconfig_at_home_is_used(self, env: dict[str, str]):
        """Where there is one in the home directory it is used as it is."""
        home = Path(env["HOME"]) / ".kube"
        home.mkdir()
        (home / "config").write_text("mine: true\n")

        assert self.config({**env, "K8S_CLIENT_KEY": ""}) == {"mine": True}
        assert stat.S_IMODE((home / "config").stat().st_mode) != 0

    def test_user_without_a_home(self, env: dict[str, str]):
        """Where no home directory is known there is none with a kubeconfig in it."""
        del env["HOME"]

        assert self.config(env)["users"]

    def test_without_cluster_no_key_goes_further(self, env: dict[str, str]):
        """The file service needs no cluster and sees no key."""
        ended = self.run(env, "env", cluster=False)

        names = {line.split("=")[0] for line in ended.stdout.splitlines()}
        assert not names & {"K8S_SERVER", "K8S_CLIENT_CRT", "K8S_CLIENT_KEY", "KUBECONFIG"}

    def test_settings_come_from_the_file_and_the_environment_wins(self, env: dict[str, str]):
        """Every setting of settings.env is there, unless the environment says otherwise."""
        ended = self.run({**env, "CBNG_STORE": "/elsewhere"}, "env", cluster=False)

        found = dict(line.split("=", 1) for line in ended.stdout.splitlines())
        wanted = {**file_settings(), "CBNG_STORE": "/elsewhere"}
        for name in ("CBNG_STORE_URL", "CBNG_DISPATCH"):  # it works on the store's directory
            wanted.pop(name)
        assert {name: found.get(name) for name in wanted} == wanted
        assert not {"CBNG_STORE_URL", "CBNG_DISPATCH"} & set(found)

    def test_works_in_an_empty_directory(self, env: dict[str, str]):
        """The command finds dodo.py and nothing else, where doit can write."""
        ended = self.run(env, "ls", "-A", cluster=False)

        assert ended.stdout == "dodo.py\n"

    def test_doit_runs_there(self, env: dict[str, str], tmp_path: Path):
        """`doit list` loads dodo.py through the entry point."""
        (tmp_path / "bin").mkdir()
        doit = tmp_path / "bin" / "doit"
        doit.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m doit "$@"\n')
        doit.chmod(0o755)

        path = f"{doit.parent}:{env['PATH']}"
        ended = self.run({**env, "PATH": path, "FILE_API_KEY": "sesame"}, "doit", "list")

        assert ended.returncode == 0, ended
        assert "run `doit` once" in ended.stderr

    def test_prune_runs_there(self, env: dict[str, str], tmp_path: Path):
        """The scheduled pruning needs nothing but what settings.env says, and its directory."""
        (tmp_path / "store").mkdir()
        words = (sys.executable, "-m", "cbngtrain.cli", *procfile()["prune"][2:])

        ended = self.run({**env, "CBNG_STORE": str(tmp_path / "store")}, *words, cluster=False)

        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == "Freed 0.0 MB: nothing.\n"

    def test_no_command_is_refused(self, env: dict[str, str]):
        """An empty command line is told."""
        assert "no command" in self.run(env, cluster=False).stderr

    def test_exit_status_and_signals_are_the_commands(self, env: dict[str, str]):
        """The entry point becomes the command."""
        assert self.run(env, "sh", "-c", "exit 14").returncode == 14
