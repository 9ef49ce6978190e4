"""A dump larger than memory."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.conftest import Site, edit, most_memory

pytestmark = pytest.mark.slow

LARGE = 4 << 30  # bytes
MOST_MEMORY = 500 << 20  # bytes


class _LargeDump(BaseHTTPRequestHandler):
    """A review service with one edit group, whose dump is made as it is sent."""

    edits = 0

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's name
        """Say nothing."""

    def do_GET(self) -> None:
        """List the group, or stream its dump: edits of 200 KB, in no order, with no length."""
        self.send_response(200)
        self.end_headers()
        if "dump-editset" not in self.path:
            row = {"id": 1, "name": "Alpha", "type": "Generic", "related_to": None}
            self.wfile.write(json.dumps([row]).encode())
            return
        line = "the river runs to the sea " * 15 + "\n"
        text = edit(4711, line * 250, vandalism=True, previous=line * 250).encode()
        self.wfile.write(b'<?xml version="1.0"?>\n<WPEditSet>\n')
        number, sent = 0, 0
        type(self).edits = 0
        while sent < LARGE:
            type(self).edits += 1
            number = (number + 7919) % 1_000_003  # a prime: each once, in no order
            one = text.replace(b"4711", str(number + 1).encode(), 1)
            self.wfile.write(one)
            sent += len(one)
        self.wfile.write(b"</WPEditSet>\n")


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve what *handler* answers; its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def watched(process: "subprocess.Popen[str]") -> tuple[str, int]:
    """What *process* prints until it ends, and the most memory in bytes it was seen to have."""
    peak = 0
    while True:
        try:
            return process.communicate(timeout=0.1)[0], peak
        except subprocess.TimeoutExpired:
            peak = max(peak, most_memory(process.pid))


def test_large_dump_needs_little_memory(site: Site):
    """A dump of 4 GB is brought into canonical form and stored with less than 500 MB of memory."""
    if (free := shutil.disk_usage(site.base).free) < 4 * LARGE:
        pytest.skip(f"{free >> 30} GB of disk are free; this needs {4 * LARGE >> 30}")
    try:
        with served(_LargeDump) as url:
            process = site.start("edit_set:alpha/train", env={"CBNG_REVIEW_URL": url})
            out, peak = watched(process)
        assert process.returncode == 0, out
        assert f": {_LargeDump.edits} edits, " in out, out
        stored = sum(path.stat().st_size for path in site.base.glob("store/cas/*/*"))
        assert stored > 0.95 * LARGE
        assert 0 < peak < MOST_MEMORY, f"{peak >> 20} MB"
    finally:
        shutil.rmtree(site.base, ignore_errors=True)
