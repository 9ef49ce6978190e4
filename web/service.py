"""What every resource needs, in one noun."""

from dataclasses import dataclass
from typing import Any

import falcon

from cbngtrain.promote import RULE, Rule
from cbngtrain.store import DirectoryStore
from web.auth import Tokens
from web.tree import Tree
from web.uploads import Upload, json_value

JSON_LIMIT = 32 << 20  # bytes: a record or an instance has some KB


@dataclass(frozen=True, slots=True)
class Service:
    """
    The store and the rules under which it is served.

    Attributes:
        store: What is served.
        tree: Its published side.
        tokens: Who may write.
        largest: Bytes that an upload may have.
        keep_free: Bytes of the disk that uploads leave free.
        rule: The gate's, by which pages judge networks.
    """

    store: DirectoryStore
    tree: Tree
    tokens: Tokens
    largest: int
    keep_free: int
    rule: Rule = RULE

    def upload(self, req: falcon.Request) -> Upload:
        """Return the body of *req*, from somebody who may write. Raises falcon.HTTPError."""
        self.tokens.require(req)
        return Upload(req, self.largest, self.store.root, self.keep_free)

    def json(self, req: falcon.Request) -> Any:
        """Return the JSON of *req*, from somebody who may write. Raises falcon.HTTPError."""
        self.tokens.require(req)
        return json_value(Upload(req, JSON_LIMIT, self.store.root, self.keep_free))
