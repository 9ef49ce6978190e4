"""
Deploying to Toolforge, and the secrets of what runs there.

`deploy` sends the components configuration, starts a deployment, follows it to its end, and
believes it only when the file service says that it is well and hands out an artifact whole.
"""

import logging
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

from cbngtrain.build import changes
from cbngtrain.errors import SettingsError, StoreError, ToolforgeError
from cbngtrain.http_store import HttpStore
from cbngtrain.settings import VARIABLES
from cbngtrain.toolforge_api import Identity, ToolforgeApi

log = logging.getLogger(__name__)

COMPONENTS = Path("toolforge/components.yaml")
NETWORK = "artifacts/main_ann.fann"

_CONFIG = "components/v1/tool/{tool}/config"
_DEPLOYMENT = "components/v1/tool/{tool}/deployment"
_ENVVARS = "envvars/v1/tool/{tool}/envvars"

_RESTARTING = f"{_DEPLOYMENT}?force-run=true"

_UNDER_WAY = frozenset({"pending", "running"})
_WELL_IN_A_ROW = 3  # answers: there are two replicas, and one of them may be an old one
_UNKNOWN = frozenset({404})
_LACKS_RIGHTS = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Patience:
    """
    How long to wait for something far away, looking at it again and again.

    Attributes:
        seconds: All waiting together.
        first: Seconds before the second look; later ones wait longer.
        longest: Seconds between two looks at most.
        sleep: Waits that many seconds.
    """

    seconds: float
    first: float = 0.5
    longest: float = 5.0
    sleep: Callable[[float], None] = time.sleep

    def looks(self) -> Iterator[None]:
        """Yield once for every look; end when there is no time left."""
        left, pause = self.seconds, self.first
        yield
        while left > 0:
            self.sleep(min(pause, left))
            left -= pause
            pause = min(pause * 1.5, self.longest)
            yield


# Configuration ---------------------------------------------------------------------------------


def configuration(path: Path, ref: str = "") -> dict[str, Any]:
    """
    Return the components configuration in *path*, every build of it from *ref* if that is given.

    Raises:
        SettingsError: It cannot be read, or is none.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        for component in config["components"].values():
            if ref and "ref" in component["build"]:
                component["build"]["ref"] = ref
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        told = " ".join(str(error).split()) if isinstance(error, yaml.YAMLError) else repr(error)
        raise SettingsError(f"{path}: is no components configuration: {told}") from error
    return dict(config)


def differences(api: ToolforgeApi, config: Mapping[str, Any]) -> list[str]:
    """Return in what *config* differs from the configuration that Toolforge has."""
    try:
        answer = api.ask("GET", _CONFIG)
    except ToolforgeError as error:
        if error.code not in _UNKNOWN:
            raise
        return ["there is none yet"]
    return changes(_without_nothing(answer.get("data")), dict(config))


def _without_nothing(value: Any) -> Any:
    """Return *value* without the names whose value is null: Toolforge tells what is not set."""
    if isinstance(value, dict):
        return {name: _without_nothing(each) for name, each in value.items() if each is not None}
    return value


# Deployments -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """
    What is to be deployed, and how.

    Attributes:
        config: The components configuration to send; None leaves Toolforge's as it is.
        token: What starts a deployment without a certificate; never told.
        restarts: Whether what has not changed is started anew, too.
        patience: How long a deployment may take.
        say: Tells a person what goes on.
    """

    config: Mapping[str, Any] | None = None
    token: str = field(default="", repr=False)
    restarts: bool = False
    patience: Patience = Patience(3600)
    say: Callable[[str], None] = print


@dataclass(frozen=True, slots=True)
class Deployment:
    """
    What Toolforge says of a deployment.

    Attributes:
        id: Toolforge's name for it.
        status: ``pending``, ``running``, ``successful``, ``failed`` or ``timed_out``.
        told: What it says besides.
        parts: ``build coordinator`` → its status, and so on for every build and run.
    """

    id: str
    status: str
    told: str
    parts: Mapping[str, str]

    @classmethod
    def from_json(cls, value: Any) -> "Deployment":
        """Raises ToolforgeError where *value* is no deployment."""
        try:
            parts = {f"build {name}": row["build_status"] for name, row in value["builds"].items()}
            parts |= {f"run {name}": row["run_status"] for name, row in value["runs"].items()}
            return cls(value["deploy_id"], value["status"], value.get("long_status") or "", parts)
        except (KeyError, TypeError, AttributeError) as error:
            raise ToolforgeError(f"Toolforge tells a malformed deployment: {error!r}") from error


def deploy(api: ToolforgeApi, orders: Orders) -> Deployment:
    """
    Send the configuration, start a deployment, and follow it to its end.

    Returns:
        The deployment, which was successful.

    Raises:
        ToolforgeError: Toolforge refuses or cannot be asked, or the deployment failed or does not
            end in time.
    """
    if orders.config is not None:
        api.ask("POST", _CONFIG, value=dict(orders.config))
        orders.say("the components configuration is sent")
    ended = _followed(api, orders, _started(api, orders))
    if ended.status != "successful":
        bad = [f"{part} {status}" for part, status in ended.parts.items() if status == "failed"]
        told = "; ".join(filter(None, [ended.told, *bad]))
        raise ToolforgeError(
            f"deployment {ended.id} {ended.status}: {told}; `toolforge build logs` tells more"
        )
    return ended


def _started(api: ToolforgeApi, orders: Orders) -> Deployment:
    """
    Start a deployment. One that is under way is waited for: it may have begun before our push.

    An answer that does not come says nothing: the deployment may have begun. So Toolforge is asked
    which there are, before and after.
    """
    for _ in orders.patience.looks():
        before = _ids(api, orders)
        path = _RESTARTING if orders.restarts else _DEPLOYMENT
        try:
            answer = api.ask("POST", path, token=orders.token, may_repeat=False)
        except ToolforgeError as error:
            if error.code == 409:
                _wait_for_other(api, orders, str(error))
                continue
            return _begun_though(api, orders, before, error)
        deployment = Deployment.from_json(answer.get("data"))
        orders.say(f"deployment {deployment.id} is started")
        return deployment
    raise ToolforgeError("another deployment does not end; see `toolforge components deployment`")


def _begun_though(
    api: ToolforgeApi, orders: Orders, before: set[str] | None, error: ToolforgeError
) -> Deployment:
    """Return the deployment that was started though the answer was *error*. Raises *error*."""
    if error.code == 401 and orders.token:
        renew = "make a new token with `toolforge components deploy-token refresh`"
        raise ToolforgeError(f"{error}; {renew}", error.code) from error
    if error.code is not None and error.code < 500:
        raise error
    found = None if before is None else _all(api, orders)
    new = [each for each in found or () if each.id not in (before or ())]
    if not new:
        raise ToolforgeError(f"{error}; whether it was started is not known") from error
    begun = max(new, key=lambda each: each.id)
    orders.say(f"deployment {begun.id} is started, though the answer did not come")
    return begun


def _reading(api: ToolforgeApi, orders: Orders) -> str:
    """Return the token to read with: none where a certificate does."""
    return "" if api.is_known else orders.token


def _all(api: ToolforgeApi, orders: Orders) -> list[Deployment] | None:
    """Return the deployments that Toolforge knows, or None where it does not tell us."""
    try:
        answer = api.ask("GET", _DEPLOYMENT, token=_reading(api, orders))
        return [Deployment.from_json(each) for each in answer["data"]["deployments"]]
    except ToolforgeError as error:
        if error.code in _UNKNOWN:
            return []
        if error.code in _LACKS_RIGHTS:
            return None
        raise
    except (KeyError, TypeError) as error:
        raise ToolforgeError(f"Toolforge lists no deployments: {error!r}") from error


def _ids(api: ToolforgeApi, orders: Orders) -> set[str] | None:
    """Return the names of all deployments, or None where Toolforge does not tell."""
    found = _all(api, orders)
    return None if found is None else {deployment.id for deployment in found}


def _wait_for_other(api: ToolforgeApi, orders: Orders, problem: str) -> None:
    """Wait for the end, good or bad, of the deployment that is under way."""
    active = [each for each in _all(api, orders) or () if each.status in _UNDER_WAY]
    if not active:
        log.info("%s", problem)
        return
    orders.say(f"deployment {active[0].id} is under way; waiting for its end")
    _followed(api, orders, active[0])


def _followed(api: ToolforgeApi, orders: Orders, deployment: Deployment) -> Deployment:
    """Return *deployment* at its end, saying what changes. Raises ToolforgeError."""
    known: dict[str, str] = {}
    for _ in orders.patience.looks():
        for part, status in deployment.parts.items():
            if known.get(part) != status:
                orders.say(f"{part}: {status}")
        known = dict(deployment.parts)
        if deployment.status not in _UNDER_WAY:
            return deployment
        path = f"{_DEPLOYMENT}/{deployment.id}"
        answer = api.ask("GET", path, token=_reading(api, orders))
        deployment = Deployment.from_json(answer.get("data"))
    seconds = f"{orders.patience.seconds:.0f} s"
    raise ToolforgeError(f"deployment {deployment.id} is still {deployment.status} after {seconds}")


# What was deployed -----------------------------------------------------------------------------


def check_health(url: str, patience: Patience) -> None:
    """Return when the file service at *url* says several times in a row that it is well."""
    last = "no answer"
    in_a_row = 0
    for _ in patience.looks():
        last = _health(url)
        in_a_row = in_a_row + 1 if last == "well" else 0
        if in_a_row == _WELL_IN_A_ROW:
            return
    raise ToolforgeError(f"{url}/_/health: not well after {patience.seconds:.0f} s: {last}")


def _health(url: str) -> str:
    """Return ``well``, or what the file service answers instead."""
    try:
        answer = requests.get(f"{url}/_/health", timeout=10)
    except requests.RequestException as error:
        return f"cannot be asked: {type(error).__name__}"
    try:
        told = answer.json()
    except ValueError:
        return f"{answer.status_code} and no JSON"
    if not isinstance(told, Mapping):
        return f"{answer.status_code} and nonsense"
    return str(told.get("status") if answer.ok else told.get("detail", answer.status_code))


def fetch_known(url: str) -> str:
    """
    Fetch the network of the latest instance of an edit set from the file service at *url*.

    Returns:
        What was fetched and found whole, in words.

    Raises:
        StoreError: The file service has an instance and cannot give it whole.
    """
    store = HttpStore(url)
    try:
        listed = requests.get(url, headers={"Accept": "application/json"}, timeout=30).json()
        names = [each["name"] for each in listed["edit_sets"] if each["latest"]]
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{url}: lists no edit sets: {type(error).__name__}") from error
    if not names:
        return "nothing is published yet"
    instance = store.latest(names[0])
    if instance is None or NETWORK not in instance.files:
        raise StoreError(f"{url}: the latest instance of {names[0]} is not whole")
    with tempfile.TemporaryDirectory() as directory:
        store.fetch(instance.files[NETWORK], Path(directory) / "network")
    return f"{instance.target}/{instance.name}/{NETWORK} is whole"


# Secrets ---------------------------------------------------------------------------------------


def cluster_secrets(who: Identity) -> dict[str, str]:
    """Return the variables by which a job without NFS reaches the cluster."""
    if not who.server:
        raise SettingsError("the kubeconfig names no server")
    found = {
        "K8S_SERVER": who.server,
        "K8S_CA_CRT": who.authority,
        "K8S_CLIENT_CRT": who.certificate,
        "K8S_CLIENT_KEY": who.key,
    }
    return {name: value for name, value in found.items() if value}


def rotated(tokens: str) -> str:
    """
    Return *tokens*, commas between, with a new one in front and of the old ones the first.

    Clients send the first and the service takes all, so nothing is refused while the two are
    restarted one after the other.
    """
    last = tokens.split(",", maxsplit=1)[0].strip()
    return ",".join(filter(None, [secrets.token_urlsafe(32), last]))


def kept_secret(api: ToolforgeApi, name: str) -> str:
    """Return the value of an environment variable of the tool; nothing where it has none."""
    try:
        return str(api.ask("GET", f"{_ENVVARS}/{name}")["envvar"]["value"])
    except ToolforgeError as error:
        if error.code in _UNKNOWN:
            return ""
        raise
    except (KeyError, TypeError) as error:
        raise ToolforgeError(f"Toolforge tells no value of {name}") from error


def keep_secret(api: ToolforgeApi, name: str, value: str) -> bool:
    """
    Make *value* the environment variable *name* of the tool; return whether it was another.

    Raises:
        SettingsError: No such setting exists, or it does not take the value.
        ToolforgeError: Toolforge refuses or cannot be asked.
    """
    known = {variable.name: variable for variable in VARIABLES.values()}
    if name not in known:
        raise SettingsError(f"{name} is no setting; see the table of settings")
    try:
        known[name].parse(value)
    except ValueError as error:
        raise SettingsError(f"{name} is not {error}") from error
    if not value:
        raise SettingsError(f"{name} would be empty")
    if kept_secret(api, name) == value:
        return False
    api.ask("POST", _ENVVARS, value={"name": name, "value": value})
    return True
