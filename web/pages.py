"""
What a folder shows: as JSON for programs, as a page for people.

Pure but for the reading of the tree.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cbngtrain.store import DirectoryStore
from web.names import Address
from web.templates import render
from web.tree import Entry, Tree

PER_PAGE = 100


@dataclass(frozen=True, slots=True)
class Page:
    """
    An answer in both its forms.

    Attributes:
        template: What makes the page of it.
        value: The JSON.
        more: What the page shows besides.
    """

    template: str
    value: dict[str, Any]
    more: dict[str, Any]

    def html(self) -> str:
        """Return the page for people."""
        return render(self.template, **self.value, **self.more)


def folder_page(tree: Tree, at: Address, number: int) -> Page:
    """Return page *number* of the folder at *at*."""
    entries = tree.entries(at) if tree.is_folder(at) else []
    shown = entries[(number - 1) * PER_PAGE : number * PER_PAGE]
    value = {
        "address": at.url,
        "page": number,
        "pages": max(-(-len(entries) // PER_PAGE), 1),
        "entries": [_entry(entry) for entry in shown],
    }
    return Page("folder.html", value, {"title": at.url})


def instance_page(store: DirectoryStore, tree: Tree, at: Address, number: int) -> Page:
    """Return page *number* of an instance: what it is, whether it is whole, what is in it."""
    page = folder_page(tree, at, number)
    instance = store.instance(at.target, at.instance)
    lacking = sorted(store.missing(instance.files.values())) if instance else []
    page.value["instance"] = instance and instance.to_json()
    page.value["whole"] = instance is not None and not lacking
    page.value["missing"] = lacking
    return page


def _entry(entry: Entry) -> dict[str, Any]:
    """Return a line of a listing."""
    return {
        "name": entry.name,
        "type": "folder" if entry.is_folder else "file",
        "size": entry.size,
        "digest": entry.digest,
        "modified": datetime.fromtimestamp(entry.modified, UTC).strftime("%Y-%m-%d %H:%M:%S"),
    }
