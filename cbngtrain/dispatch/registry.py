"""
What an image's tag stands for now: the registry is asked, once per build.

The API is OCI's distribution specification: ``HEAD /v2/{name}/manifests/{tag}`` answers with the
digest; a registry that wants a token says in its 401 where anybody gets one.
"""

import hashlib
import json
import logging
import re
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import requests

from cbngtrain.errors import DispatchError, StoreError, reason
from cbngtrain.image import Image
from cbngtrain.store import Store

log = logging.getLogger(__name__)

TRIES = 4
TIMEOUT = (10, 30)  # seconds to connect, and between two bytes
LARGEST = 4 << 20  # bytes read of a manifest: registries need take no more, by the specification

_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_AWAY = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses after which trying again helps
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LOOPBACK = re.compile(r"(localhost|127(\.[0-9]+){3})(:[0-9]+)?")
_PARAMETER = re.compile(r'([a-z_]+)="([^"\\]*)"')


def resolved(image: Image, store: Store, registry: "Registry") -> Image:
    """
    Return *image* with the digest that its tag stands for; what is pinned asks nobody.

    The digest is kept in the store. Where the registry cannot tell, the last one kept counts.

    Raises:
        DispatchError: The registry cannot tell, and never has.
    """
    if image.digest:
        return image
    head = f"image.{hashlib.sha256(str(image).encode()).hexdigest()}"  # no slug has a dot
    before = store.head(head).get("digest")
    try:
        digest = registry.digest(image)
    except DispatchError as error:
        if not (isinstance(before, str) and _DIGEST.fullmatch(before)):
            raise
        log.warning("%s; going on with what it was last, %s", error, before)
        return image.at(before)
    if digest != before:
        log.info("%s is now %s; it was %s", image, digest, before or "not known before")
        _keep(store, head, image, digest)
    return image.at(digest)


def _keep(store: Store, head: str, image: Image, digest: str) -> None:
    """Keep *digest*; a store that refuses does not stop the build here."""
    try:
        store.set_head(head, {"image": str(image), "digest": digest})
    except StoreError as error:
        log.warning("the digest of %s is not kept: %s", image, error)


class Registry:
    """Registries of container images; to anybody's eyes, so no password is ever sent."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """*sleep* waits between two tries."""
        self._sleep = sleep
        self._session = requests.Session()
        self._session.auth = _nobody  # no .netrc takes its place
        self._session.headers["Accept"] = ", ".join(_MANIFESTS)

    def digest(self, image: Image) -> str:
        """
        Return the digest of the manifest that *image*'s tag stands for.

        Raises:
            DispatchError: The registry cannot be asked, refuses, or does not know the tag.
        """
        # As every client does, only a registry of this machine is spoken to without TLS.
        scheme = "http" if _LOOPBACK.fullmatch(image.registry) else "https"
        url = f"{scheme}://{image.registry}/v2/{image.name}/manifests/{image.tag}"
        answer, _ = self._ask("HEAD", url, image, {})
        headers = {}
        if answer.status_code == 401:
            headers = self._bearer(answer, image)
            answer, _ = self._ask("HEAD", url, image, headers)
        told = _checked(answer, image).headers.get("Docker-Content-Digest", "")
        if _DIGEST.fullmatch(told):
            return told
        answer, manifest = self._ask("GET", url, image, headers)
        _checked(answer, image)
        return f"sha256:{hashlib.sha256(manifest).hexdigest()}"

    def _bearer(self, refusal: requests.Response, image: Image) -> dict[str, str]:
        """Return the header with the token that the *refusal* says anybody may have."""
        challenge = refusal.headers.get("WWW-Authenticate", "")
        parameters = dict(_PARAMETER.findall(challenge))
        realm = parameters.pop("realm", "")
        is_safe = urlsplit(realm).scheme == urlsplit(refusal.url).scheme or realm[:6] == "https:"
        if not challenge.lower().startswith("bearer ") or not realm or not is_safe:
            raise DispatchError(f"{image}: its registry wants a password; make the image public")
        query = {name: parameters[name] for name in ("service", "scope") if name in parameters}
        answer, body = self._ask("GET", realm, image, {"Accept": "application/json"}, query)
        _checked(answer, image)
        try:
            told = json.loads(body)
            token = told.get("token") or told["access_token"]
        except (ValueError, KeyError, AttributeError) as error:
            raise DispatchError(f"{image}: {urlsplit(realm).netloc} gives no token") from error
        return {"Authorization": f"Bearer {token}"}

    def _ask(
        self,
        method: str,
        url: str,
        image: Image,
        headers: dict[str, str],
        query: dict[str, str] | None = None,
    ) -> tuple[requests.Response, bytes]:
        """
        Return the answer and its body, trying again while the registry is away.

        Raises:
            DispatchError: It stays away, its certificate is none, or it sends too much.
        """
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                log.info("%s: %s; trying again", image, problem)
                self._sleep(2.0**attempt)
            try:
                answer = self._session.request(
                    method, url, headers=headers, params=query, timeout=TIMEOUT,
                    allow_redirects=True, stream=True,
                )  # fmt: skip
                body = _body(answer, image)
            except requests.exceptions.SSLError as error:
                raise DispatchError(
                    f"{image}: the certificate of {urlsplit(url).netloc} is not to be trusted: "
                    f"{error}"
                ) from error
            except requests.RequestException as error:
                problem = f"{urlsplit(url).netloc} cannot be asked: {reason(error)}"
                continue
            if answer.status_code not in _AWAY:
                return answer, body
            problem = f"{urlsplit(url).netloc} answers {answer.status_code} {answer.reason}"
        raise DispatchError(f"{image}: {problem}; pin it with @sha256:…, or try again later")


def _body(answer: requests.Response, image: Image) -> bytes:
    """Return the body of *answer*. Raises DispatchError, when so much came, if it is too large."""
    body = b""
    with answer:
        for piece in answer.iter_content(1 << 16):
            body += piece
            if len(body) > LARGEST:
                raise DispatchError(
                    f"{image}: {urlsplit(answer.url).netloc} sends more than {LARGEST >> 20} MB "
                    "where a manifest, or a token, is asked for"
                )
    return body


def _nobody(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Add no credentials."""
    return request


def _checked(answer: requests.Response, image: Image) -> requests.Response:
    """Return *answer* if it is one. Raises DispatchError."""
    if answer.ok:
        return answer
    where = urlsplit(answer.url).netloc
    if answer.status_code == 404:
        raise DispatchError(f"{image}: {where} has no such image or tag; is its name right?")
    if answer.status_code in {401, 403}:
        raise DispatchError(f"{image}: {where} shows it to nobody; make the image public")
    raise DispatchError(f"{image}: {where} answers {answer.status_code} {answer.reason}")
