"""Pages of the documentation whose commands need a cluster: they do what the page shows."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dispatch.conftest import TOKEN
from tests.dispatch.real import Real
from tests.pages import PAGES, PORT, Desk, beginning, checkout, free_port, name_of, walk

pytestmark = pytest.mark.cluster

ADDRESS = "192.0.2.1"
"""In the pages, of this machine as pods reach it; one that documentation may use (RFC 5737)."""

IMAGE = "tools-harbor.wmcloud.org/tool-cluebotng/core:latest"
"""In the pages, of what pods run in; the tests have one of their own, with the engine in it."""

SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "toolforge.envvar.v1.file-api-key"},
    "stringData": {"FILE_API_KEY": TOKEN},
}


@pytest.fixture
def desk(real: Real, tmp_path: Path) -> Iterator[Desk]:
    """A checkout, and the cluster in the kubeconfig at home."""
    home = tmp_path / "home"
    (home / ".kube").mkdir(parents=True)
    (home / ".kube" / "config").symlink_to(real.kubeconfig)
    here = {ADDRESS: real.host, PORT: free_port(real.host), IMAGE: real.image.pinned}
    sitting = Desk(checkout(tmp_path / "cbngtrain"), home, {}, here)
    yield sitting
    sitting.leave()
    subprocess.run(["kubectl", "--kubeconfig", real.kubeconfig, "apply", "--filename", "-"],
                   check=True, input=json.dumps(SECRET), text=True)  # fmt: skip


@pytest.mark.parametrize(
    "page", [page for page in PAGES if beginning(page) == "cluster"], ids=name_of
)
def test_commands_do_what_the_page_shows(page: Path, desk: Desk):
    """Every command of the page, in order, ends and says as shown."""
    walk(page, desk)
