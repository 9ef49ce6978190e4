"""The documentation tells what is so, and its commands do what it shows."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def links(page: Path) -> list[str]:
    """Where a page's links lead, without addresses on the web."""
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [link for link in found if "://" not in link]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_lead_somewhere(page: Path):
    """A link leads to a file of this repository."""
    lost = [link for link in links(page) if not (page.parent / link.split("#")[0]).exists()]

    assert lost == []


def test_index_links_every_page():
    """The index lists every page."""
    listed = {(DOCS / link).resolve() for link in links(DOCS / "README.md")}

    assert set(PAGES) - {DOCS / "README.md"} <= listed
