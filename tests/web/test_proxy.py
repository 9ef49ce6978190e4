"""The service behind a proxy that buffers, as on Toolforge: Debian's nginx."""

import getpass
import grp
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from cbngtrain.http_store import HttpStore
from tests.web.conftest import TOKEN, WRITER, Running, digest_of

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="there is no nginx: apt-get install nginx-light"),
]

CONFIGURATION = """
daemon off;
user {user} {group};
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  client_max_body_size 0;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{behind};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_request_buffering on;
    }}
  }}
}}
"""


@contextmanager
def nginx(folder: Path, behind: int) -> Iterator[int]:
    """Run nginx in front of a port; give its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    who = {"user": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}
    told = CONFIGURATION.format(folder=folder, port=port, behind=behind, **who)
    (folder / "nginx.conf").write_text(told)
    assert NGINX is not None
    process = subprocess.Popen([NGINX, "-p", folder, "-c", folder / "nginx.conf"])
    try:
        _wait(port)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int) -> None:
    """Return when somebody listens."""
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(port)


@pytest.fixture
def proxy(gunicorn: Running, tmp_path: Path) -> Iterator[str]:
    """The URL of the proxy."""
    with nginx(tmp_path, gunicorn.port) as port:
        yield f"http://127.0.0.1:{port}"


def test_store_through_a_proxy(proxy, tmp_path):
    """The client works through a proxy as without one."""
    (tmp_path / "in").write_bytes(os.urandom(5_000_000))
    store = HttpStore(proxy, TOKEN)
    digest = store.add(tmp_path / "in")
    store.fetch(digest, tmp_path / "out")
    assert store.missing([digest]) == set()
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()


def test_headers_through_a_proxy(proxy):
    """Validators and ranges pass through."""
    content = os.urandom(100_000)
    url = f"{proxy}/cas/{digest_of(content)}"
    requests.put(url, content, headers=WRITER, timeout=10)
    got = requests.get(url, headers={"Range": "bytes=5-9"}, timeout=10)
    assert (got.status_code, got.content) == (206, content[5:10])
    known = requests.get(url, headers={"If-None-Match": got.headers["ETag"]}, timeout=10)
    assert known.status_code == 304


def test_half_sent_requests(proxy):
    """A thousand requests that are never sent to their end hold nobody up."""
    port = int(proxy.rsplit(":", 1)[1])
    halves = [
        b"GET /_/health HTTP/1.1\r\nHost: st",
        b"PUT /cas/%s HTTP/1.1\r\nHost: store\r\nContent-Length: 99999\r\n\r\nbeginning"
        % (b"a" * 64),
    ]
    with ExitStack() as held:
        for i in range(1000):
            line = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            line.sendall(halves[i % 2])
        began = time.monotonic()
        statuses = [requests.get(f"{proxy}/_/health", timeout=10).status_code for _ in range(3)]
        took = time.monotonic() - began
    assert (statuses, took < 3) == ([200] * 3, True)
