"""A stand-in of Toolforge to deploy to."""

from collections.abc import Iterator

import pytest

from tests.toolforge_standin import Certificates, Standin, make_certificates, toolforge


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, the stand-in's certificate, the tool's."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def standin(certificates: Certificates) -> Iterator[Standin]:
    """Toolforge."""
    with toolforge(certificates) as state:
        yield state
