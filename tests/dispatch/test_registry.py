"""What a tag stands for: a real registry, and odd answers."""

import hashlib
import io
import json
import logging
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import requests_mock

from cbngtrain.dispatch.registry import LARGEST, Registry, resolved
from cbngtrain.errors import DispatchError
from cbngtrain.image import Image
from cbngtrain.store import DirectoryStore
from tests.dispatch.registry_process import running_registry

HARBOR = "https://harbor.example"
CORE = Image.parse("harbor.example/tool/core:latest")
URL = f"{HARBOR}/v2/tool/core/manifests/latest"
SHA, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64

needs_registry = pytest.mark.skipif(
    not (shutil.which("docker-registry") and shutil.which("skopeo")),
    reason="Debian's docker-registry and skopeo are not here",
)


@pytest.fixture
def registry() -> Registry:
    return Registry(sleep=lambda _: None)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


@pytest.fixture
def harbor() -> Iterator[requests_mock.Mocker]:
    with requests_mock.Mocker() as mocker:
        yield mocker


def refusal(registry: Registry) -> str:
    """What is said where the registry cannot tell."""
    with pytest.raises(DispatchError) as error:
        registry.digest(CORE)
    return str(error.value)


# A real one


def write_layout(path: Path, note: str) -> str:
    """Write an image without layers as an OCI layout; return its digest."""
    blobs = path / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(value: object) -> dict[str, object]:
        content = json.dumps(value).encode()
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    kind = "application/vnd.oci.image"
    config = {"architecture": "amd64", "os": "linux", "config": {"Labels": {"note": note}},
              "rootfs": {"type": "layers", "diff_ids": []}}  # fmt: skip
    manifest = put(
        {
            "schemaVersion": 2,
            "mediaType": f"{kind}.manifest.v1+json",
            "config": {"mediaType": f"{kind}.config.v1+json", **put(config)},
            "layers": [],
        }
    )
    row = {"mediaType": f"{kind}.manifest.v1+json", **manifest}
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [row]}))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(manifest["digest"])


@pytest.fixture
def real(tmp_path: Path) -> Iterator[str]:
    """The address of a running registry."""
    with running_registry(tmp_path) as address:
        yield address


def push(layout: Path, address: str, tag: str) -> None:
    """Push an image."""
    subprocess.run(
        ["skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false",
         f"oci:{layout}", f"docker://{address}/tool/core:{tag}"],
        check=True, capture_output=True,
    )  # fmt: skip


@needs_registry
def test_real_registry_tells_what_a_tag_stands_for(
    real: str, tmp_path: Path, store: DirectoryStore, registry: Registry
):
    """Pushed, asked; pushed again, another digest; gone, the one it had last."""
    first = write_layout(tmp_path / "one", "one")
    second = write_layout(tmp_path / "two", "two")
    image = Image.parse(f"{real}/tool/core:latest")

    push(tmp_path / "one", real, "latest")
    assert resolved(image, store, registry) == image.at(first)
    push(tmp_path / "two", real, "latest")
    assert resolved(image, store, registry) == image.at(second)
    with pytest.raises(DispatchError, match="has no such image or tag"):
        registry.digest(Image.parse(f"{real}/tool/core:v9"))


# Odd answers


def test_token_for_anybody_is_asked_for(harbor: requests_mock.Mocker, registry: Registry):
    """A registry that wants a token says where; it is sent from then on, and no password is."""
    challenge = f'Bearer realm="{HARBOR}/service/token",service="harbor",scope="repository:t:pull"'
    harbor.head(
        URL,
        [
            {"status_code": 401, "headers": {"WWW-Authenticate": challenge}},
            {"headers": {"Docker-Content-Digest": SHA}},
        ],
    )
    harbor.get(f"{HARBOR}/service/token", json={"token": "t0ken"})

    assert registry.digest(CORE) == SHA
    asked, token, again = harbor.request_history
    assert token.qs == {"service": ["harbor"], "scope": ["repository:t:pull"]}
    assert "Authorization" not in {**asked.headers, **token.headers}
    assert again.headers["Authorization"] == "Bearer t0ken"
    assert "application/vnd.oci.image.index.v1+json" in again.headers["Accept"]
    assert all(request.verify for request in harbor.request_history)


@pytest.mark.parametrize(
    "challenge",
    ["", 'Basic realm="x"', "Bearer", f'Bearer realm="{HARBOR.replace("https", "http")}/token"'],
)
def test_no_password_and_no_plain_http(
    challenge: str, harbor: requests_mock.Mocker, registry: Registry
):
    """What asks for a password, or for a token in the clear, is not answered."""
    harbor.head(URL, status_code=401, headers={"WWW-Authenticate": challenge})

    assert "wants a password; make the image public" in refusal(registry)
    assert len(harbor.request_history) == 1


@pytest.mark.parametrize("answer", [{"text": "no JSON"}, {"json": {}}, {"json": ["x"]}])
def test_token_that_is_none(
    answer: dict[str, Any], harbor: requests_mock.Mocker, registry: Registry
):
    """A token service that answers nonsense is named."""
    challenge = f'Bearer realm="{HARBOR}/token"'
    harbor.head(URL, status_code=401, headers={"WWW-Authenticate": challenge})
    harbor.get(f"{HARBOR}/token", **answer)

    assert refusal(registry) == f"{CORE}: harbor.example gives no token"


@pytest.mark.parametrize("header", [{}, {"Docker-Content-Digest": "sha512:abc"}])
def test_digest_is_computed_where_it_is_not_told(
    header: dict[str, str], harbor: requests_mock.Mocker, registry: Registry
):
    """The digest is that of the manifest's bytes."""
    harbor.head(URL, headers=header)
    harbor.get(URL, content=b'{"schemaVersion": 2}')

    assert registry.digest(CORE) == "sha256:" + hashlib.sha256(b'{"schemaVersion": 2}').hexdigest()


@pytest.mark.parametrize(
    ("answer", "told", "tries"),
    [
        ({"status_code": 404}, "harbor.example has no such image or tag; is its name right?", 1),
        ({"status_code": 403}, "harbor.example shows it to nobody; make the image public", 1),
        ({"status_code": 418, "reason": "Teapot"}, "harbor.example answers 418 Teapot", 1),
        ({"status_code": 503, "reason": "Busy"}, "answers 503 Busy; pin it with @sha256", 4),
        ({"status_code": 429, "reason": "Slow"}, "answers 429 Slow; pin it with @sha256", 4),
        ({"exc": requests.ConnectTimeout("slow")}, "cannot be asked: slow; pin it with", 4),
        ({"exc": requests.exceptions.SSLError("self-signed")}, "is not to be trusted: self-", 1),
    ],
    ids=lambda value: str(value)[:30],
)
def test_refusal_says_what_to_do(
    answer: dict[str, Any],
    told: str,
    tries: int,
    harbor: requests_mock.Mocker,
    registry: Registry,
):
    """What may pass is tried again; each refusal names the image, the registry and a remedy."""
    harbor.head(URL, **answer)

    message = refusal(registry)

    assert message.startswith(f"{CORE}: ")
    assert told in message
    assert len(harbor.request_history) == tries


def test_registry_that_comes_back_is_enough(harbor: requests_mock.Mocker, registry: Registry):
    """A short absence is waited out."""
    harbor.head(
        URL,
        [
            {"exc": requests.ConnectionError},
            {"status_code": 502},
            {"headers": {"Docker-Content-Digest": SHA}},
        ],
    )

    assert registry.digest(CORE) == SHA


class Endless(io.RawIOBase):
    """A body without end, and how much of it was read."""

    came = 0

    def readinto(self, buffer: Any, /) -> int:
        """Fill *buffer*."""
        self.came += len(buffer)
        return len(buffer)

    def readable(self) -> bool:
        """Return that it can be read."""
        return True


def test_manifest_without_end_is_refused(harbor: requests_mock.Mocker, registry: Registry):
    """What is larger than manifests may be is none, and is not read any further."""
    harbor.head(URL)
    harbor.get(URL, body=(body := Endless()))

    assert "harbor.example sends more than 4 MB" in refusal(registry)
    assert LARGEST < body.came < 2 * LARGEST


def test_token_without_end_is_refused(harbor: requests_mock.Mocker, registry: Registry):
    """Who gives tokens is believed no more than the registry."""
    challenge = f'Bearer realm="{HARBOR}/token"'
    harbor.head(URL, status_code=401, headers={"WWW-Authenticate": challenge})
    harbor.get(f"{HARBOR}/token", body=(body := Endless()))

    assert "harbor.example sends more than 4 MB" in refusal(registry)
    assert body.came < 2 * LARGEST


# What is remembered


def test_pinned_image_asks_nobody(
    harbor: requests_mock.Mocker, store: DirectoryStore, registry: Registry
):
    """An image by digest needs neither registry nor store."""
    assert resolved(CORE.at(SHA), store, registry) == CORE.at(SHA)
    assert harbor.request_history == []


def test_last_digest_counts_while_the_registry_is_away(
    harbor: requests_mock.Mocker,
    store: DirectoryStore,
    registry: Registry,
    caplog: pytest.LogCaptureFixture,
):
    """The build goes on with the image it had, and says so."""
    harbor.head(URL, headers={"Docker-Content-Digest": SHA})
    assert resolved(CORE, store, registry) == CORE.at(SHA)
    harbor.head(URL, status_code=503)

    with caplog.at_level(logging.WARNING):
        assert resolved(CORE, store, registry) == CORE.at(SHA)
    assert f"going on with what it was last, {SHA}" in caplog.text


def test_image_that_never_was_resolved_stops_the_build(
    harbor: requests_mock.Mocker, store: DirectoryStore, registry: Registry
):
    """Without a digest there is no fingerprint; another tag's does not count."""
    harbor.head(URL, headers={"Docker-Content-Digest": SHA})
    resolved(CORE, store, registry)
    harbor.head(f"{HARBOR}/v2/tool/core/manifests/v2", status_code=503)

    with pytest.raises(DispatchError, match="answers 503"):
        resolved(Image.parse("harbor.example/tool/core:v2"), store, registry)


def test_moved_tag_is_told(
    harbor: requests_mock.Mocker,
    store: DirectoryStore,
    registry: Registry,
    caplog: pytest.LogCaptureFixture,
):
    """Why everything is built anew stands in the log."""
    caplog.set_level(logging.INFO)
    for digest in (SHA, OTHER):
        harbor.head(URL, headers={"Docker-Content-Digest": digest})
        resolved(CORE, store, registry)

    assert f"{CORE} is now {OTHER}; it was {SHA}" in caplog.text


def test_spoilt_memory_is_no_digest(
    harbor: requests_mock.Mocker, store: DirectoryStore, registry: Registry
):
    """What stands in the store under the image's name is looked at before it is believed."""
    head = "image." + hashlib.sha256(str(CORE).encode()).hexdigest()
    store.set_head(head, {"digest": "latest"})
    harbor.head(URL, status_code=404)

    with pytest.raises(DispatchError, match="has no such image"):
        resolved(CORE, store, registry)
