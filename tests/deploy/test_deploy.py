"""Deploying to Toolforge, against a stand-in that speaks real HTTP over real TLS."""

import logging
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cbngtrain.deploy import (
    Orders,
    Patience,
    check_health,
    configuration,
    deploy,
    fetch_known,
    rotated,
)
from cbngtrain.errors import SettingsError, StoreError, ToolforgeError
from cbngtrain.step import Digest
from cbngtrain.store import DirectoryStore, Instance
from cbngtrain.toolforge_api import Identity, ToolforgeApi, identity_in
from tests.conftest import ROOT
from tests.toolforge_standin import (
    HANGS,
    TOKEN,
    TOOL,
    Certificates,
    Standin,
    make_certificates,
)
from tests.web.conftest import Running, serving

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not here")

CONFIG = configuration(ROOT / "toolforge" / "components.yaml")


def no_sleep(_seconds: float) -> None:
    """Do not wait."""


@pytest.fixture
def api_of(certificates: Certificates, standin: Standin) -> Iterator[Callable[..., ToolforgeApi]]:
    """Makes the API, as the tool or as nobody."""
    made: list[ToolforgeApi] = []

    def make(*, is_tool: bool = True, **more: Any) -> ToolforgeApi:
        crt, key = certificates.pair("tool")
        who = Identity(crt.read_text(), key.read_text()) if is_tool else None
        given = {"authority": certificates.authority, "sleep": no_sleep, **more}
        made.append(ToolforgeApi(standin.url, TOOL, who, **given))
        return made[-1]

    yield make
    for each in made:
        each.__exit__()


class Said(list[str]):
    """What a person was told."""


def orders(said: Said | None = None, **more: Any) -> Orders:
    """What is to be deployed: everything, without waiting."""
    patience = Patience(60, sleep=no_sleep)
    say = Said().append if said is None else said.append
    given = {"config": CONFIG, "patience": patience, "say": say, **more}
    return Orders(**given)


class TestDeploy:
    """`deploy`."""

    def test_configuration_is_sent_and_the_deployment_followed(
        self, api_of: Callable[..., ToolforgeApi], standin: Standin
    ):
        """Toolforge has our configuration, and every change of every part is told once."""
        said = Said()

        ended = deploy(api_of(), orders(said))

        assert ended.status == "successful"
        assert standin.config == CONFIG
        assert said[0] == "the components configuration is sent"
        assert said[2:] == [
            "build coordinator: pending",
            "run file-api: pending",
            "build coordinator: running",
            "build coordinator: successful",
            "run file-api: successful",
        ]

    @pytest.mark.parametrize("status", ["failed", "timed_out"])
    def test_failed_deployment_is_an_error(
        self, api_of: Callable[..., ToolforgeApi], standin: Standin, status: str
    ):
        """A deployment that fails is told with what failed in it, and why."""
        standin.course = ("running", status)

        with pytest.raises(
            ToolforgeError, match=rf"{status}: pip says no; build coordinator failed"
        ):
            deploy(api_of(), orders())

    def test_deployment_without_end_is_an_error(
        self, api_of: Callable[..., ToolforgeApi], standin: Standin
    ):
        """Waiting has an end."""
        standin.course = ("running",)

        with pytest.raises(ToolforgeError, match="still running after 60 s"):
            deploy(api_of(), orders())

    def test_vanished_deployment_is_an_error(
        self, api_of: Callable[..., ToolforgeApi], standin: Standin
    ):
        """A deployment that Toolforge does not know any more is no success."""
        standin.course = ("running",)
        standin.fail("GET", "-0000000000", 404)

        with pytest.raises(ToolforgeError, match="404: told to fail"):
            deploy(api_of(), orders())

    def test_token_is_enough_to_start_one(
        self, api_of: Callable[..., ToolforgeApi], standin: Standin
    ):
        """Without a certificate the deployment is started and followed with the token."""
        standin.config = CONFIG

        ended = deploy(api_of(is_tool=False), orders(config=None, token=TOKEN))

        assert ended.status == "successful"
        assert all(query == {"token": [TOKEN]} for query in standin.queries)

    def test_restart_is_asked_for(self, api_of: Callable[..., ToolforgeApi], standin: Standin):
        """What has not changed is started anew only when that is wanted."""
        deploy(api_of(), orders(config=None, restarts=True))

        assert {"force-run": ["true"]} in standin.queries

    def test_wrong_token_is_refused_and_not_told(
        self,
        api_of: Callable[..., ToolforgeApi],
        caplog: pytest.LogCaptureFixture,
        standin: Standin,
    ):
        """401 says how to get a new token; the one that Toolforge repeats is left out."""
        caplog.set_level(logging.DEBUG)
        wrong = "ffffffff-not+the token"

        with pytest.raises(ToolforgeError, match=r"passed '…' does not.*deploy-token") as raised:
            deploy(api_of(is_tool=False), orders(config=None, token=wrong))

        assert standin.queries[-1] == {"token": [wrong]}
        assert "urllib3" in {record.name.split(".")[0] for record in caplog.records}
        told = f"{raised.value} {raised.value.__cause__} {caplog.text}"
        assert "ffffffff" not in told

    @pytest.mark.parametrize("odd", [-1, 0], ids=["done, then cut", "cut"])
    def test_token_is_not_told_when_the_connection_breaks(
        self,
        api_of: Callable[..., ToolforgeApi],
        caplog: pytest.LogCaptureFixture,
        standin: Standin,
        odd: int,
    ):
        """The library's errors hold the whole URL; ours do not."""
        caplog.set_level(logging.DEBUG)
        standin.fail("POST", "deployment", odd)
        said = Said()

        problem = ""
        try:
            deploy(api_of(is_tool=False), orders(said, config=None, token=TOKEN))
        except ToolforgeError as error:
            problem = f"{error} {error.__cause__}"

        assert TOKEN not in problem + caplog.text + "".join(said)

    def test_answer_that_does_not_come_is_looked_up(
        self, api_of: Callable[..., ToolforgeApi], standin: Standin
    ):
        """A deployment that was started though the answer was lost is followed, not doubled."""
        standin.fail("POST", "deployment", -1)
        said = Said()

        ended = deploy(api_of(), orders(said))

        assert ended.status == "successful"
        assert len(standin.deployments) == 1
        assert any("though the answer did not come" in line for line in said)

    def test_api_that_hangs_is_given_up(
        self, api_of: Callable[..., ToolforgeApi], standin: Standin
    ):
        """A time-out is "unknown": reading is repeated, and a lost start is looked up."""
        standin.fail("GET", "deployment", HANGS)
        standin.fail("POST", "deployment", HANGS)

        api = api_of()
        api.timeout = (5.0, 0.2)

        with pytest.raises(ToolforgeError, match=r"timed out.*whether it was started is not known"):
            deploy(api, orders())

    def test_start_that_never_arrived_is_an_error(
        self, api_of: Callable[..., ToolforgeApi], standin: Standin
    ):
        """Without a new deployment there is nothing to follow, and starting is not repeated."""
        standin.fail("POST", "deployment", 0)

        with pytest.raises(ToolforgeError, match="whether it was started is not known"):
            deploy(api_of(), orders())

        assert standin.deployments == []
        assert sum(line.startswith("POST /components") for line in standin.seen) == 2

    def test_deployment_under_way_is_waited_for(
        self, api_of: Callable[..., ToolforgeApi], standin: Standin
    ):
        """409: the one under way may have begun before our push, so ours comes after it."""
        other = standin.begin(("running", "failed"))
        said = Said()

        ended = deploy(api_of(), orders(said))

        assert ended.status == "successful"
        assert ended.id != other["deploy_id"]
        assert f"deployment {other['deploy_id']} is under way; waiting for its end" in said

    @pytest.mark.parametrize("statuses", [(503, 502), (0, 0, 0), (429,), (500,)])
    def test_what_may_pass_is_asked_again(
        self, api_of: Callable[..., ToolforgeApi], standin: Standin, statuses: tuple[int, ...]
    ):
        """An API that is away for a while is asked again, when asking and when configuring."""
        standin.fail("POST", "config", *statuses)
        standin.fail("GET", "-0000000000", *statuses)

        assert deploy(api_of(), orders()).status == "successful"

    def test_asking_again_has_an_end(self, api_of: Callable[..., ToolforgeApi], standin: Standin):
        """An API that stays away is an error."""
        standin.fail("POST", "config", *[503] * 9)

        with pytest.raises(ToolforgeError, match="503"):
            deploy(api_of(), orders())

        assert len(standin.seen) == 5

    def test_refused_configuration_is_told(
        self, api_of: Callable[..., ToolforgeApi], standin: Standin
    ):
        """422 says where and what, is not tried again, and nothing is deployed."""
        with pytest.raises(ToolforgeError, match=r"422: body.config_version: unknown"):
            deploy(api_of(), orders(config={"config_version": "v0"}))

        assert len(standin.seen) == 1

    def test_stranger_is_not_trusted(
        self, api_of: Callable[..., ToolforgeApi], tmp_path: Path, standin: Standin
    ):
        """A server that another authority vouches for is told nothing."""
        other = make_certificates(tmp_path / "other")

        with pytest.raises(ToolforgeError, match="cannot be trusted"):
            deploy(api_of(authority=other.authority), orders())

        assert standin.seen == []

    @pytest.mark.parametrize("name", ["", "a/b", "../x", "A", "x{tool}"])
    def test_tool_has_a_name(self, name: str):
        """A tool's name goes into URLs: it is letters, digits and dashes."""
        with pytest.raises(SettingsError, match="no tool's name"):
            ToolforgeApi("https://x.example", name, None)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A file service with one instance."""
    root = tmp_path_factory.mktemp("served") / "store"
    store = DirectoryStore(root)
    network = root.parent / "network"
    network.write_text("FANN_FLO_2.1\n")
    digest = store.add(network)
    files = {"artifacts/main_ann.fann": digest}
    store.publish(Instance("Alpha/Beta", "2025-08-01 18:36:31", files, files, {}))
    with serving(root) as running:
        yield running


@pytest.mark.slow
class TestHealth:
    """What was deployed is looked at."""

    def test_well(self, service: Running):
        """A service that is well is believed after three answers."""
        check_health(service.url, Patience(10, sleep=no_sleep))

    def test_known_artifact_is_fetched_whole(self, service: Running):
        """The network of a latest instance is fetched and verified."""
        told = fetch_known(service.url)

        assert told == "Alpha/Beta/2025-08-01 18:36:31/artifacts/main_ann.fann is whole"

    def test_rotten_artifact_is_an_error(self, service: Running):
        """A network that comes with other bytes is no success."""
        [blob] = service.root.glob("cas/*/*")
        good = blob.read_bytes()
        blob.chmod(0o644)
        blob.write_bytes(b"x" * len(good))

        try:
            with pytest.raises(StoreError, match="other bytes twice, and was not taken out"):
                fetch_known(service.url)
        finally:
            blob.write_bytes(good)

    def test_health_that_never_comes_is_an_error(self):
        """Nobody listens: it is told after the time is up."""
        with pytest.raises(ToolforgeError, match="not well after 5 s: cannot be asked"):
            check_health("http://127.0.0.1:9", Patience(5, sleep=no_sleep))

    def test_ill_service_is_an_error(self, tmp_path: Path):
        """A service whose disk refuses is not well, and the reason is told."""
        root = tmp_path / "store"
        root.mkdir()
        with serving(root) as running:
            root.rename(tmp_path / "elsewhere")
            with pytest.raises(ToolforgeError, match="the store's directory: No such file"):
                check_health(running.url, Patience(2, sleep=no_sleep))

    def test_other_web_page_is_not_health(self, standin: Standin):
        """200 from something else is not believed."""
        with pytest.raises(ToolforgeError, match="not well"):
            check_health(standin.url, Patience(1, sleep=no_sleep))

    def test_empty_store_is_said(self, tmp_path: Path):
        """A new file service has nothing to fetch, which is told and no error."""
        (tmp_path / "store").mkdir()
        with serving(tmp_path / "store") as running:
            assert fetch_known(running.url) == "nothing is published yet"


@pytest.mark.parametrize("text", ["", "[]", "a: [", "current-context: x", "users: 1"])
def test_kubeconfig_that_is_none_is_refused(tmp_path: Path, text: str):
    """A file that is no kubeconfig is one sentence."""
    path = tmp_path / "config"
    path.write_text(text)

    with pytest.raises(SettingsError, match=str(path)):
        identity_in(path)


@pytest.mark.parametrize(
    "text", [b"", b"components: 1", b"a: [", b"components: {a: {}}", b"\xff\x00"]
)
def test_configuration_that_is_none_is_refused(tmp_path: Path, text: bytes):
    """A file that is no components configuration is one sentence, for people."""
    path = tmp_path / "components.yaml"
    path.write_bytes(text)

    with pytest.raises(SettingsError, match=str(path)) as found:
        configuration(path, "v1")

    assert not re.search(r"\n|object at", str(found.value))


def test_api_that_nobody_serves_is_told_in_few_words():
    """What the operating system said, not the library's layers."""
    with (
        ToolforgeApi("https://127.0.0.1:1", TOOL, None, sleep=lambda _: None) as api,
        pytest.raises(ToolforgeError, match=r"/x: Toolforge cannot be asked: Connection refused$"),
    ):
        api.ask("GET", "x")


def test_first_token_is_alone():
    """Where there was no token there is one."""
    assert "," not in rotated("")
    assert Digest(rotated("")) != rotated("")
