"""
Kubernetes' API, as far as pods need it: the official client's errors become ours here.

Pods are plain dicts, as the API spells them. Requests are tried again while the API is away: all
of them may be repeated, since a pod's name says what it is for.
"""

import json
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import kubernetes
import urllib3
import yaml

from cbngtrain.dispatch.manifest import CONTAINER, SELECTOR
from cbngtrain.errors import (
    DispatchError,
    PodExists,
    QuotaExceeded,
    SettingsError,
    WatchExpired,
)

log = logging.getLogger(__name__)

TIMEOUT = (10, 30)  # seconds to connect, and between two bytes
PATIENCE = 300.0  # seconds for which a request is tried again
QUIET = 600  # seconds for which a log that is followed may be silent before it is asked for again
LARGEST_LOG = 64 << 20  # bytes of a pod's log that are read

POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

_EVENTS = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK"})
_LOST = (urllib3.exceptions.HTTPError, OSError)
_LONGEST_PAUSE = 15.0  # seconds between two tries

Json = dict[str, Any]


class Cluster:
    """A namespace of a Kubernetes cluster."""

    def __init__(
        self,
        kubeconfig: str,
        namespace: str,
        sleep: Callable[[float], None] = time.sleep,
        patience: float = PATIENCE,
    ) -> None:
        """
        Args:
            kubeconfig: A file; if empty, the usual places.
            namespace: Where pods are; if empty, what the kubeconfig says.
            sleep: How to wait between two tries; it may raise to end the waiting.
            patience: Seconds for which one request is tried again, unless it says otherwise.

        Raises:
            SettingsError: There is no kubeconfig that can be used.
        """
        api, own = _client(kubeconfig)
        self._api: Any = kubernetes.client.CoreV1Api(api)
        self.namespace = namespace or own
        self._sleep = sleep
        self._patience = patience
        self._has_been_let_in = False

    # Pods

    def create(self, manifest: Mapping[str, Any]) -> Json:
        """
        Make a pod and return it.

        Raises:
            PodExists: There is one of this name.
            QuotaExceeded: There is no room for it now.
            DispatchError: The cluster refuses it.
        """
        name = manifest["metadata"]["name"]
        return self._asked(
            f"pod {name}", self._api.create_namespaced_pod, self.namespace, dict(manifest)
        )

    def pod(self, name: str, patience: float | None = None) -> Json | None:
        """Return the pod of that name, or None if there is none. Raises DispatchError."""
        try:
            return self._asked(
                f"pod {name}",
                self._api.read_namespaced_pod,
                name,
                self.namespace,
                patience=patience,
            )
        except _Absent:
            return None

    def pods(
        self, selector: str = SELECTOR, patience: float | None = None
    ) -> tuple[list[Json], str]:
        """Return our pods (or all, for an empty selector), and the version of that list."""
        found = self._asked(
            "the list of pods",
            self._api.list_namespaced_pod,
            self.namespace,
            label_selector=selector,
            patience=patience,
        )
        return list(found["items"]), str(found["metadata"]["resourceVersion"])

    def delete(self, pod: Mapping[str, Any], patience: float | None = None) -> None:
        """Delete exactly this pod; if it is gone, or another has its name, so much the better."""
        metadata = pod["metadata"]
        what = f"pod {metadata['name']}"
        body = {"preconditions": {"uid": metadata["uid"]}}
        with suppress(_Absent, PodExists):  # 409: another uid
            self._answer(
                what,
                self._api.delete_namespaced_pod,
                metadata["name"],
                self.namespace,
                body=body,
                patience=patience,
            )

    def watch(self, version: str, seconds: int) -> Iterator[tuple[str, Json]]:
        """
        Yield what happens to our pods after *version*: type of event and pod.

        It ends after *seconds*, or sooner; that says nothing.

        Raises:
            WatchExpired: The version is too old, or the API says that something is wrong.
            DispatchError: The API cannot be asked.
        """
        what = "the watch of pods"
        with _translated(what):
            answer = self._api.list_namespaced_pod(
                self.namespace,
                label_selector=SELECTOR,
                resource_version=version,
                timeout_seconds=seconds,
                watch=True,
                _preload_content=False,
                _request_timeout=(TIMEOUT[0], seconds + TIMEOUT[1]),
            )
            with closing(answer):
                for line in _lines(answer):
                    event = _json(line, what)
                    kind, told = event.get("type"), event.get("object") or {}
                    if kind not in _EVENTS:
                        raise WatchExpired(f"{what}: {kind}: {told.get('message')}")
                    yield kind, told

    def log(self, name: str, seconds: int | None = None, *, follow: bool) -> Iterator[bytes]:
        """
        Yield the lines of a pod's log, each with its time in front.

        Args:
            name: The pod's.
            seconds: Only lines of so many seconds are wanted. (The official client does not know
                the API's ``sinceTime``; and so no two clocks need to agree.)
            follow: Whether to wait for more until the pod ends.

        Raises:
            DispatchError: There is none, or it broke off.
        """
        what = f"the log of pod {name}"
        wanted = {"since_seconds": seconds} if seconds else {}
        with _translated(what):
            answer = self._api.read_namespaced_pod_log(
                name,
                self.namespace,
                container=CONTAINER,
                timestamps=True,
                follow=follow,
                limit_bytes=LARGEST_LOG,
                _preload_content=False,
                _request_timeout=(TIMEOUT[0], QUIET if follow else TIMEOUT[1]),
                **wanted,
            )
            with closing(answer):
                yield from _lines(answer)

    # Limits

    def quotas(self, patience: float | None = None) -> list[Json]:
        """Return the resource quotas. Raises DispatchError."""
        found = self._asked(
            "quotas", self._api.list_namespaced_resource_quota, self.namespace, patience=patience
        )
        return list(found["items"])

    def limit_ranges(self, patience: float | None = None) -> list[Json]:
        """Return the limits of single containers. Raises DispatchError."""
        found = self._asked(
            "limits", self._api.list_namespaced_limit_range, self.namespace, patience=patience
        )
        return list(found["items"])

    # Requests

    def _asked(self, what: str, request: Callable[..., Any], *values: Any, **options: Any) -> Json:
        """Return the object that *request* answers with. Raises DispatchError."""
        return _json(self._answer(what, request, *values, **options), what)

    def _answer(
        self,
        what: str,
        request: Callable[..., Any],
        *values: Any,
        patience: float | None = None,
        **options: Any,
    ) -> bytes:
        """Return the answer, whole, trying again while the API is away. Raises DispatchError."""
        patience = self._patience if patience is None else patience
        end, pause = time.monotonic() + patience, 0.5
        while True:
            try:
                with _translated(what):
                    answer = request(
                        *values, **options, _preload_content=False, _request_timeout=TIMEOUT
                    )
                    self._has_been_let_in = True
                    return bytes(answer.data)
            except (_Away, _Stranger) as error:
                if isinstance(error, _Stranger) and not self._has_been_let_in:
                    raise
                if time.monotonic() >= end:
                    raise DispatchError(f"{error}; tried for {patience:.0f} s") from error
                log.info("%s; trying again", error)
            self._sleep(pause * (0.5 + random.random() / 2))  # noqa: S311 - spreads clients
            pause = min(2 * pause, _LONGEST_PAUSE)


class _Away(DispatchError):
    """A request got no answer, or not all of it, or none that helps now."""


class _Stranger(DispatchError):
    """We may not ask; while an API server starts it says so of those whom it knows, too."""


class _Absent(DispatchError):
    """There is no such object."""


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn the libraries' errors into ours."""
    try:
        yield
    except kubernetes.client.ApiException as error:
        raise _refusal(what, error) from error
    except _LOST as error:
        raise _Away(f"{what}: the cluster cannot be asked: {error}") from error
    except json.JSONDecodeError as error:
        raise _Away(f"{what}: the cluster answers no JSON: {error}") from error


def _refusal(what: str, error: Any) -> DispatchError:
    """Return what an answer that is none of 2xx means."""
    told = f"{what}: the cluster answers {error.status}: {(message := _message(error))}"
    if error.status == 403 and "exceeded quota" in message:
        return QuotaExceeded(told)
    if error.status == 401 or (error.status == 403 and "cannot" in message):
        return _Stranger(f"{told}; are KUBECONFIG and CBNG_NAMESPACE right?")
    return _MEANINGS.get(error.status, DispatchError)(told)


_MEANINGS: Mapping[int, type[DispatchError]] = {
    **dict.fromkeys((408, 429, 500, 502, 503, 504), _Away),  # trying again helps
    404: _Absent,
    409: PodExists,
    410: WatchExpired,
}


def _message(error: Any) -> str:
    """Return what an answer that is an error says, cut."""
    body = error.body or ""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
    with suppress(ValueError, AttributeError):
        text = str(json.loads(text).get("message") or text)
    return " ".join(text.split())[:500] or str(error.reason)


_UNREADABLE = (OSError, ValueError, TypeError, AttributeError, LookupError, yaml.YAMLError)
"""What the official client raises of a kubeconfig that is none."""


def _client(kubeconfig: str) -> tuple[Any, str]:
    """Return the official client, with TLS verified, and the namespace of its configuration."""
    configuration = kubernetes.client.Configuration()
    config: Any = kubernetes.config
    try:
        try:
            config.load_kube_config(kubeconfig or None, client_configuration=configuration)
            _, context = config.list_kube_config_contexts(kubeconfig or None)
            namespace = context["context"].get("namespace", "default")
        except config.ConfigException:
            if kubeconfig:
                raise
            config.load_incluster_config(client_configuration=configuration)
            namespace = POD_NAMESPACE.read_text(encoding="ascii").strip()
    except (config.ConfigException, *_UNREADABLE) as error:
        told = " ".join(str(error).split())
        lacking = f"KUBECONFIG={kubeconfig!r}: {told}" if kubeconfig else "there is no kubeconfig"
        raise SettingsError(
            f"{lacking}; set KUBECONFIG to the file that says how the cluster is reached"
        ) from error
    if not configuration.verify_ssl:
        raise SettingsError(
            f"KUBECONFIG={kubeconfig!r} does not have the cluster verified: take out "
            "insecure-skip-tls-verify, and name its certificate-authority"
        )
    configuration.retries = False  # they are counted here
    configuration.connection_pool_maxsize = 64  # a watch, a log per pod, and what threads ask
    return kubernetes.client.ApiClient(configuration), namespace


def _lines(answer: Any) -> Iterator[bytes]:
    """Yield the lines of an answer as they come, without their ends."""
    rest: list[bytes] = []  # of a line whose end has not come yet, perhaps for many MB
    for piece in answer.stream(amt=None, decode_content=False):
        first, *others = piece.split(b"\n")
        rest.append(first)
        for other in others:
            yield b"".join(rest)
            rest = [other]
    if any(rest):
        yield b"".join(rest)


def _json(body: bytes, what: str) -> Json:
    """Return the object in *body*. Raises DispatchError."""
    try:
        value = json.loads(body)
    except ValueError as error:
        raise DispatchError(f"{what}: the cluster answers no JSON: {error}") from error
    if not isinstance(value, dict):
        raise DispatchError(f"{what}: the cluster answers no JSON object")
    return value
