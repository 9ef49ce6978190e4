"""A stand-in for the review service: its API over real HTTP, as odd as the real one."""

import json
import random
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.conftest import dump
from tests.ledger import Edit

PREFIX = "/api/v1/edit-groups/"


@dataclass
class Review:
    """
    The state of the service.

    Attributes:
        url: Where it is.
        groups: What it lists.
        edits: Group → its edits.
        is_down: Whether it answers 503 to everything.
    """

    url: str = ""
    groups: list[dict[str, Any]] = field(default_factory=list)
    edits: dict[int, frozenset[Edit]] = field(default_factory=dict)
    is_down: bool = False
    shuffle: random.Random = field(default_factory=lambda: random.Random(1))

    def lists(self, names: Iterable[str]) -> None:
        """List edit sets, each with a training and a trial group: 3 n + 2 and 3 n + 3."""
        for n, name in enumerate(names):
            kinds = ((1, "", "Generic", None), (2, " training", "Training", 3 * n + 1),
                     (3, " trial", "Trial", 3 * n + 1))  # fmt: skip
            self.groups += [
                {"id": 3 * n + i, "name": name + more, "type": kind, "related_to": parent}
                for i, more, kind, parent in kinds
            ]

    def holds(self, edits: Mapping[str, tuple[frozenset[Edit], frozenset[Edit]]]) -> None:
        """Hold the edits of a world; its edit sets are those that are listed."""
        for n, (training, trial) in enumerate(edits.values()):
            self.edits[3 * n + 2], self.edits[3 * n + 3] = training, trial

    def dumped(self, group: int) -> bytes:
        """The group's dump: in another order each time, with volatile fields."""
        rows = [each.xml() for each in self.edits.get(group, ())]
        self.shuffle.shuffle(rows)
        volatile = f"<EditDB><lastUpdated>{self.shuffle.random()}</lastUpdated></EditDB></WPEdit>"
        return dump(row.replace("</WPEdit>", volatile) for row in rows).encode()


class _Handler(BaseHTTPRequestHandler):
    state: Review

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's name
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer as the review service does: streamed dumps, no length."""
        path = self.path.partition("?")[0]
        if self.state.is_down:
            self.send_error(503)
        elif path == PREFIX:
            self._answer("application/json", json.dumps(self.state.groups).encode())
        elif path.startswith(PREFIX) and path.endswith("/dump-editset/"):
            group = int(path.removeprefix(PREFIX).partition("/")[0])
            self._answer("text/xml", self.state.dumped(group))
        else:
            self.send_error(404)

    def _answer(self, kind: str, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def review_service() -> Iterator[Review]:
    """Serve a review service without edit groups."""
    state = Review()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": state}))
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
