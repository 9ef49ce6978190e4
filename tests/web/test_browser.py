"""The pages as a person meets them: in a real, headless Chromium."""

import hashlib
import json
import os
import re
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import pytest
import requests

from tests.web.conftest import WRITER, Running, digest_of, serving
from tests.web.test_evaluation import COMPARISON, METRICS
from tests.web.test_pages import TABLE, report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium"),
]

SET = "Original Testing Training Set - Random Edits 50/50"
TIMES = [f"2025-08-0{day} 18:36:31" for day in range(1, 5)]
PAGES = {
    "home": "/",
    "edit-set": f"/{quote(SET)}/",
    "instance": f"/{quote(SET)}/{quote(TIMES[-1])}/",
    "folder": f"/{quote(SET)}/{quote(TIMES[-1])}/artifacts/",
    "error": "/nothing-here",
}


def png(width: int = 64, height: int = 48) -> bytes:
    """A picture."""
    rows = b"".join(b"\0" + bytes([9, 90, 160] * width) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with two edit sets, some instances, a failed build, something in production."""
    root = tmp_path_factory.mktemp("browser") / "store"
    root.mkdir()
    with serving(root) as running:
        for i, time in enumerate(TIMES):
            publish(running, SET, time, 60 + 2.5 * i)
        publish(running, "Legacy Import", TIMES[0], 50)
        told: dict[str, Any] = {"instance": TIMES[1], "who": "A person", "why": "it is better"}
        put(running, f"/{quote(SET)}/production", json=told)
        failed = [
            {"step": "ann:legacy-import", "problem": "exit code 3", "log": blob(running, b"x")}
        ]
        put(
            running,
            "/_/builds/2025-08-05T00",
            json={"edit_sets": {"Legacy Import": {"failed": failed}}},
        )
        yield running


STEPS = {
    "trial": {
        "leaves": ["trial/report.txt", "trial/thresholdtable.txt"],
        "made_from": {"artifacts/main_ann.fann": {}, "previous/details.txt": {}},
    }
}


def put(running: Running, path: str, **body: Any) -> None:
    requests.put(running.url + path, headers=WRITER, timeout=30, **body).raise_for_status()


def blob(running: Running, content: bytes) -> str:
    digest = digest_of(content)
    put(running, f"/cas/{digest}", data=content)
    return digest


def publish(running: Running, target: str, time: str, caught: float) -> None:
    """Publish an instance with all that one has."""
    contents = {
        "trial/report.txt": report(caught).encode(),
        "trial/thresholdtable.txt": TABLE.encode(),
        "trial/thresholds.png": png(),
        "artifacts/main_ann.fann": f"network {caught}".encode() * 1000,
        "edit-sets/train.xml": b"<WPEditSet><WPEdit/></WPEditSet>",
        "logs/ann.log": b"epoch 1\n",
        "trial/metrics.json": json.dumps(METRICS).encode(),
        "trial/comparison.json": json.dumps(COMPARISON).encode(),
    }
    files = {path: blob(running, content) for path, content in contents.items()}
    artifacts = {path: {"size": len(content)} for path, content in contents.items()}
    put(
        running,
        f"/{quote(target)}/{quote(time)}",
        json={"files": files, "about": {"artifacts": artifacts, "steps": STEPS}},
    )


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for all tests."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page, with what went wrong on it."""

    def __init__(self, chromium: Any, base: str, **options: Any) -> None:
        self.context = chromium.new_context(base_url=base, accept_downloads=True, **options)
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.page.on("console", lambda said: self._told(said.type, said.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("requestfailed", lambda asked: self.problems.append(asked.url))

    def _told(self, kind: str, text: str) -> None:
        self.problems += [text] if kind in {"error", "warning"} else []


@pytest.fixture
def visit(chromium: Any, filled: Running) -> Iterator[Any]:
    """Make visits, and end them."""
    made: list[Visit] = []

    def visit(**options: Any) -> Visit:
        made.append(Visit(chromium, filled.url, **options))
        return made[-1]

    yield visit
    for each in made:
        each.context.close()


def test_from_the_first_page_to_a_plot(visit):
    """From the first page the way leads to an edit set, its latest instance, and a plot of it."""
    on = visit()
    on.page.goto("/")
    on.page.get_by_role("link", name=SET).click()
    on.page.get_by_role("link", name=TIMES[-1]).first.click()
    picture = on.page.get_by_role("img", name="Plot trial/thresholds.png")
    picture.scroll_into_view_if_needed()
    picture.click()
    on.page.wait_for_url("**/trial/thresholds.png")
    assert on.page.evaluate("document.images[0].naturalWidth") == 64
    assert on.problems == []


def test_download(visit, tmp_path):
    """An artifact that is downloaded has the sha256 that its page tells, and its own name."""
    on = visit()
    on.page.goto(PAGES["instance"])
    link = on.page.get_by_role("link", name="artifacts/main_ann.fann")
    told = on.page.locator("tr", has=link).locator("[data-copy]").get_attribute("data-copy")
    with on.page.expect_download() as download:
        link.click()
    download.value.save_as(tmp_path / "net")
    assert hashlib.sha256((tmp_path / "net").read_bytes()).hexdigest() == told
    assert download.value.suggested_filename == "main_ann.fann"


def test_copy_button(visit):
    """A button copies a digest, and says so."""
    on = visit(permissions=["clipboard-read", "clipboard-write"])
    on.page.goto(PAGES["instance"])
    button = on.page.locator("button[data-copy]").first
    button.click()
    on.page.get_by_role("button", name="Copied").wait_for()
    assert on.page.evaluate("navigator.clipboard.readText()") == button.get_attribute("data-copy")
    assert on.problems == []


def test_without_script(visit):
    """Without JavaScript everything can be read, and no button is shown that does nothing."""
    on = visit(java_script_enabled=False)
    on.page.goto(PAGES["instance"])
    assert on.page.get_by_text("=== REPORT ===").is_visible()
    assert on.page.get_by_role("link", name="artifacts/main_ann.fann").is_visible()
    assert on.page.locator("button:visible").count() == 0


def test_reports_run_nothing(visit, filled):
    """A file of other people's text runs no script, whatever it is called."""
    time = "2025-08-09 00:00:00"
    evil = b"<svg xmlns='http://www.w3.org/2000/svg'><script>document.title='ran'</script></svg>"
    requests.put(f"{filled.url}/Evil/{time}/evil.svg", evil, headers=WRITER, timeout=10)
    on = visit()
    on.page.goto(f"/Evil/{quote(time)}/evil.svg")
    assert on.page.title() != "ran"


def test_no_broken_link(filled):
    """Every address that a page refers to is there."""
    seen, ahead, broken = set(), {filled.url + "/"}, []
    while ahead:
        url = ahead.pop()
        seen.add(url)
        answer = requests.get(url, headers={"Accept": "text/html"}, timeout=10)
        broken += [] if answer.ok else [f"{answer.status_code} {url}"]
        is_page = answer.headers["Content-Type"].startswith("text/html")
        found = re.findall(r'(?:href|src)="([^"#]+)"', answer.text) if is_page else []
        urls = {urljoin(url, each.replace("&amp;", "&")) for each in found}
        ahead |= {each for each in urls if urlsplit(each).netloc in filled.url} - seen
    assert broken == []
    assert len(seen) > 40


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(
    ("look", "options"),
    [
        ("wide", {"viewport": {"width": 1200, "height": 900}}),
        ("phone", {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}),
    ],
    ids=["wide", "phone"],
)
def test_accessible(visit, tmp_path, name, look, options):
    """No page has a serious barrier (axe-core), or is wider than the screen; pictures are kept."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    on = visit(**options)
    on.page.goto(PAGES[name])
    kept = Path(os.environ.get("SCREENSHOTS", tmp_path))  # noqa: TID251 - where CI keeps them
    kept.mkdir(parents=True, exist_ok=True)
    on.page.screenshot(path=kept / f"{name}-{look}.png", full_page=True)
    found = axe.Axe().run(on.page).response["violations"]
    serious = [each["help"] for each in found if each["impact"] in {"serious", "critical"}]
    assert serious == []
    assert on.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
