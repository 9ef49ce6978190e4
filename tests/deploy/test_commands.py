"""``cbng-trainer deploy`` and ``setup-secrets``, as processes, against a stand-in of Toolforge."""

import base64
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cbngtrain.deploy import configuration
from tests.conftest import ROOT
from tests.toolforge_standin import (
    TOKEN,
    TOOL,
    Certificates,
    Standin,
)
from tests.web.conftest import serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not here"),
]

CONFIG = configuration(ROOT / "toolforge" / "components.yaml")


class TestCommands:
    """``cbng-trainer deploy`` and ``setup-secrets``, as processes."""

    @pytest.fixture
    def kubeconfig(self, certificates: Certificates, tmp_path: Path) -> Path:
        """A kubeconfig as the tool's home has it: certificates in files beside it."""
        crt, key = certificates.pair("tool")
        shutil.copy(crt, tmp_path / "client.crt")
        shutil.copy(key, tmp_path / "client.key")
        authority = base64.b64encode(certificates.authority.read_bytes()).decode()
        cluster = {"server": "https://k8s.example:6443", "certificate-authority-data": authority}
        user = {"client-certificate": "client.crt", "client-key": "client.key"}
        config = {
            "current-context": "toolforge",
            "contexts": [{"name": "toolforge", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "other", "user": {}}, {"name": "u", "user": user}],
        }
        path = tmp_path / "config"
        path.write_text(yaml.safe_dump(config))
        return path

    @pytest.fixture
    def run(
        self, certificates: Certificates, standin: Standin, tmp_path: Path
    ) -> Callable[..., "subprocess.CompletedProcess[str]"]:
        """Run the command line against the stand-in."""

        def run(*words: str, given: str = "", **env: str) -> "subprocess.CompletedProcess[str]":
            return subprocess.run(
                [sys.executable, "-m", "cbngtrain.cli", *words],
                check=False, capture_output=True, text=True, cwd=ROOT, input=given, timeout=60,
                env={"HOME": str(tmp_path / "nobody"), "TOOL_TOOLFORGE_API_URL": standin.url,
                     "CBNG_TOOLFORGE_CA": str(certificates.authority), **env},
            )  # fmt: skip

        return run

    def test_deploy(
        self,
        run: Callable[..., "subprocess.CompletedProcess[str]"],
        standin: Standin,
        kubeconfig: Path,
        tmp_path: Path,
    ):
        """The whole way: configuration, deployment, health, an artifact; exit status 0."""
        (tmp_path / "store").mkdir()
        with serving(tmp_path / "store") as running:
            ended = run("deploy", "--kubeconfig", str(kubeconfig), "--url", running.url,
                        "--ref", "refs/tags/v1.2.3")  # fmt: skip

        assert ended.returncode == 0, ended
        assert "difference: there is none yet" in ended.stdout
        assert f"{running.url} is well; nothing is published yet" in ended.stdout
        assert standin.config
        assert standin.config["components"]["coordinator"]["build"]["ref"] == "refs/tags/v1.2.3"

    def test_dry_run_changes_nothing(
        self,
        run: Callable[..., "subprocess.CompletedProcess[str]"],
        standin: Standin,
        kubeconfig: Path,
    ):
        """It tells what differs, and sends nothing."""
        standin.config = {**CONFIG, "components": {}}

        ended = run("deploy", "--dry-run", "--kubeconfig", str(kubeconfig))

        assert ended.returncode == 0, ended
        assert "difference: components.coordinator" in ended.stdout
        assert [line for line in standin.seen if not line.startswith("GET")] == []

    def test_token_from_the_environment_or_a_file(
        self,
        run: Callable[..., "subprocess.CompletedProcess[str]"],
        standin: Standin,
        tmp_path: Path,
    ):
        """The token comes from either, and is in nothing that is printed, not even at DEBUG."""
        standin.course = ("failed",)
        (tmp_path / "token").write_text(f"{TOKEN}\n")
        words = ("deploy", "--keep-configuration")

        ends = [
            run(*words, CBNG_DEPLOY_TOKEN=TOKEN, CBNG_LOG_LEVEL="DEBUG"),
            run(*words, "--token-file", str(tmp_path / "token"), CBNG_LOG_LEVEL="DEBUG"),
            run(*words, "--token-file", "-", given=TOKEN),
        ]

        assert [ended.returncode for ended in ends] == [14, 14, 14], ends
        assert all("pip says no" in ended.stderr for ended in ends)
        assert not any(TOKEN in ended.stdout + ended.stderr for ended in ends)
        assert len(standin.deployments) == 3

    def test_without_a_certificate_the_configuration_cannot_be_sent(
        self, run: Callable[..., "subprocess.CompletedProcess[str]"], standin: Standin
    ):
        """It is told before anything is asked, with the way out."""
        ended = run("deploy", CBNG_DEPLOY_TOKEN=TOKEN)

        assert ended.returncode == 12
        assert "--keep-configuration" in ended.stderr
        assert standin.seen == []

    def test_secrets_of_the_cluster(
        self,
        run: Callable[..., "subprocess.CompletedProcess[str]"],
        standin: Standin,
        certificates: Certificates,
        kubeconfig: Path,
    ):
        """From the kubeconfig come server, authority, certificate and key; a token is made."""
        ended = run("setup-secrets", "--kubeconfig", str(kubeconfig))

        crt, key = certificates.pair("tool")
        made = dict(standin.envvars)
        assert ended.returncode == 0, ended
        assert len(made.pop("FILE_API_KEY")) > 30
        assert made == {
            "K8S_SERVER": "https://k8s.example:6443",
            "K8S_CA_CRT": certificates.authority.read_text(),
            "K8S_CLIENT_CRT": crt.read_text(),
            "K8S_CLIENT_KEY": key.read_text(),
        }
        assert not any(value in ended.stdout + ended.stderr for value in standin.envvars.values())

    def test_kubeconfig_of_the_environment(
        self,
        run: Callable[..., "subprocess.CompletedProcess[str]"],
        standin: Standin,
        kubeconfig: Path,
    ):
        """KUBECONFIG names it too, as the entry point of the tool's jobs sets it."""
        ended = run("deploy", "--dry-run", KUBECONFIG=str(kubeconfig))

        assert ended.returncode == 0, ended
        assert standin.seen == [f"GET /components/v1/tool/{TOOL}/config"]

    def test_secrets_that_stand_stay(
        self,
        run: Callable[..., "subprocess.CompletedProcess[str]"],
        standin: Standin,
        kubeconfig: Path,
    ):
        """A second time nothing is written, and the token is the same."""
        run("setup-secrets", "--kubeconfig", str(kubeconfig))
        before, standin.seen = dict(standin.envvars), []

        ended = run("setup-secrets", "--kubeconfig", str(kubeconfig))

        assert (standin.envvars, ended.returncode) == (before, 0)
        assert [line for line in standin.seen if line.startswith("POST")] == []

    def test_secrets_from_files_and_standard_input(
        self,
        run: Callable[..., "subprocess.CompletedProcess[str]"],
        standin: Standin,
        kubeconfig: Path,
        tmp_path: Path,
    ):
        """A value comes from a file or from standard input, never from the command line."""
        (tmp_path / "server").write_text("https://other.example\n")

        ended = run("setup-secrets", "--kubeconfig", str(kubeconfig), "--from-file",
                    f"K8S_SERVER={tmp_path / 'server'}", "--from-file", "FILE_API_KEY=-",
                    given="sesame\n")  # fmt: skip

        assert ended.returncode == 0, ended
        assert standin.envvars == {
            "K8S_SERVER": "https://other.example", "FILE_API_KEY": "sesame",
        }  # fmt: skip

    def test_token_is_rotated(
        self,
        run: Callable[..., "subprocess.CompletedProcess[str]"],
        standin: Standin,
        kubeconfig: Path,
    ):
        """A new token goes in front; the last one stays beside it, and the one before goes."""
        standin.envvars["FILE_API_KEY"] = "second,first"

        ended = run("setup-secrets", "--kubeconfig", str(kubeconfig), "--rotate", "FILE_API_KEY")

        new, *old = standin.envvars["FILE_API_KEY"].split(",")
        assert ended.returncode == 0, ended
        assert (len(new) > 30, old) == (True, ["second"])
        assert new not in ended.stdout + ended.stderr

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ("FILE_API_KEY", "NAME=FILE"),
            ("NO_SETTING=-", "NO_SETTING is no setting"),
            ("K8S_SERVER=-", "K8S_SERVER is not a URL"),
            ("K8S_SERVER=/nowhere", "/nowhere: cannot be read"),
        ],
    )
    def test_bad_secret_is_refused(
        self,
        run: Callable[..., "subprocess.CompletedProcess[str]"],
        standin: Standin,
        kubeconfig: Path,
        given: str,
        told: str,
    ):
        """What is no setting, or not what the setting takes, is not sent."""
        ended = run(
            "setup-secrets", "--kubeconfig", str(kubeconfig), "--from-file", given, given="x"
        )

        assert ended.returncode == 12, ended
        assert told in ended.stderr
        assert standin.envvars == {}

    def test_secrets_need_a_certificate(
        self, run: Callable[..., "subprocess.CompletedProcess[str]"]
    ):
        """Without a kubeconfig there is nothing to set up from."""
        ended = run("setup-secrets")

        assert ended.returncode == 12
        assert "--kubeconfig names another" in ended.stderr
