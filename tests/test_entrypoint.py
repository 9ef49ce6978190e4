"""``toolforge/entrypoint``: the kubeconfig it writes, the settings it reads, what it runs."""

import base64
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.toolforge_files import ENTRYPOINT, file_settings, procfile


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
