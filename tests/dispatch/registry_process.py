"""A registry of images on loopback, as a process of its own."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.web.conftest import wait_for_answer


@contextmanager
def running_registry(tmp_path: Path) -> Iterator[str]:
    """Run a registry; give its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "registry.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '{address}'}}\n"
        f"storage: {{filesystem: {{rootdirectory: {tmp_path / 'registry'}}}}}\n"
    )
    command = ["setpriv", "--pdeathsig", "KILL", "docker-registry", "serve"]
    with (tmp_path / "registry.log").open("wb") as log:
        process = subprocess.Popen([*command, tmp_path / "registry.yml"], stdout=log, stderr=log)
    try:
        wait_for_answer(f"http://{address}/v2/")
        yield address
    finally:
        process.kill()
        process.wait()
