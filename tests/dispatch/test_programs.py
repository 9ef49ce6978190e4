"""What stands for programs in fingerprints."""

import json
import logging
from pathlib import Path

import pytest
import requests_mock

from cbngtrain.dispatch.local import conf_digest
from cbngtrain.dispatch.programs import IMAGES, Images, images, programs
from cbngtrain.image import Image
from cbngtrain.plan import IN_IMAGE
from cbngtrain.reference import reference_url
from cbngtrain.settings import Settings
from cbngtrain.store import DirectoryStore
from tests.dispatch.places import ENGINE

SHA, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
ELSEWHERE = {
    "CBNG_DISPATCH": "pods",
    "CBNG_STORE_URL": "http://198.51.100.1:8000",
    "FILE_API_KEY": "a",
}
CORE = Image.parse("a.example/core:v1")


def settings(**more: str) -> Settings:
    """Settings for steps in pods."""
    return Settings.from_env({**ELSEWHERE, "CBNG_CORE_IMAGE": str(CORE), **more})


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DirectoryStore:
    monkeypatch.chdir(tmp_path)
    return DirectoryStore(tmp_path / "store")


def test_image_is_known_by_its_digest():
    """Where the tag points is part of a fingerprint, the tag is not; so is no configuration."""
    found = programs(settings(), Images(CORE.at(SHA), None))

    assert found.core == {"image": f"a.example/core@{SHA}"}
    assert found.conf is None
    assert set(found.trainer) == {"trainer"}


def test_release_is_known_by_its_url_whatever_it_runs_in():
    """The image that a release runs in is not part of the fingerprint."""
    chosen = settings(CBNG_CORE_RELEASE="v1.0.3", CBNG_CORE_RELEASES_URL="https://r.example/x/")

    found = [programs(chosen, Images(CORE.at(sha), None)) for sha in (SHA, OTHER)]

    assert found[0] == found[1]
    assert found[0].core == {"release": "https://r.example/x/v1.0.3"}


RELEASE = {"CBNG_CORE_RELEASE": "v1.0.3", "CBNG_CORE_RELEASES_URL": "https://r.example/x"}


@pytest.mark.parametrize(
    ("more", "reference"),
    [
        ({}, ""),
        ({"CBNG_REFERENCE": "image"}, IN_IMAGE),
        (RELEASE, "https://r.example/x/v1.0.3"),
        ({"CBNG_CORE_CONF": str(ENGINE / "conf")}, ""),
        ({"CBNG_DISPATCH": "local", "CBNG_REFERENCE": "image"}, ""),
        ({**RELEASE, "CBNG_REFERENCE": "image"}, "https://r.example/x/v1.0.3"),
        ({"CBNG_REFERENCE": "none"}, ""),
        ({"CBNG_REFERENCE": "https://n.example/x"}, "https://n.example/x"),
    ],
)
def test_where_the_network_in_use_is(more: dict[str, str], reference: str):
    """It is the release's; that in the image, another, or none can be named."""
    assert reference_url(settings(**more)) == reference


def test_own_configuration_is_part_of_it(tmp_path: Path):
    """A configuration that travels as an input is known by its files."""
    (tmp_path / "cluebotng.conf").write_text("chains: {};\n")

    found = programs(settings(CBNG_CORE_CONF=str(tmp_path)), Images(CORE.at(SHA), None))

    assert found.conf == conf_digest(tmp_path)


def test_trainer_in_an_image_is_that_image():
    """What an image of the trainer computes depends on the image, not on the source here."""
    found = programs(settings(), Images(CORE.at(SHA), CORE.at(OTHER)))

    assert found.trainer == {"image": f"a.example/core@{OTHER}"}


def test_here_the_engine_runs():
    """Steps on this machine run the embedded engine with its own configuration."""
    found = programs(Settings.from_env({}), None)

    assert set(found.core) == {"engine"}
    assert found.conf


def test_who_only_looks_asks_no_registry(store: DirectoryStore, caplog: pytest.LogCaptureFixture):
    """A build writes what its tags stood for; `list` reads that."""
    with requests_mock.Mocker() as registry:
        for name, sha in (("core", SHA), ("trainer", OTHER)):
            registry.head(
                f"https://a.example/v2/{name}/manifests/v1", headers={"Docker-Content-Digest": sha}
            )
        chosen = settings(CBNG_TRAINER_IMAGE="a.example/trainer:v1")
        with caplog.at_level(logging.WARNING):
            before = images(chosen, store, runs=False)
        built = images(chosen, store, runs=True)
        asked = len(registry.request_history)
        after = images(chosen, store, runs=False)

    assert before.core == CORE
    assert "run `doit` once" in caplog.text
    assert built == after == Images(CORE.at(SHA), Image.parse("a.example/trainer:v1").at(OTHER))
    assert asked == len(registry.request_history) == 2
    assert json.loads(IMAGES.read_text())[str(CORE)] == SHA


def test_release_runs_in_an_image_of_toolforge(store: DirectoryStore):
    """Without an image of its own, a release needs one with curl."""
    with requests_mock.Mocker() as registry:
        registry.head(requests_mock.ANY, headers={"Docker-Content-Digest": SHA})
        found = images(settings(CBNG_CORE_IMAGE="", CBNG_CORE_RELEASE="v1"), store, runs=True)

    assert str(found.core) == (
        f"docker-registry.tools.wmflabs.org/toolforge-bookworm-sssd:latest@{SHA}"
    )
