"""A browser for the page's tests, and what it saw: errors, requests, dialogs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

SCREENSHOTS = Path(__file__).resolve().parents[2] / "target" / "screenshots" / "page"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("Chromium is needed: apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


@dataclass
class Tab:
    """One open page, and all that should not have happened in it."""

    page: Page
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, folder: Path | str, address: str = "") -> Tab:
        """Open the page of a folder from the disk, or of a server, and wait for its figures."""
        base = folder if isinstance(folder, str) else f"{folder.resolve().as_uri()}/index.html"
        self.page.goto(base + address)
        self.wait("document.getElementById('as-of').textContent !== ''")
        self.settled()
        return self

    def settled(self) -> None:
        """Wait until nothing is being read."""
        # A table says that it searches only after a quarter of a second.
        for _ in range(2):
            self.wait("![...document.querySelectorAll('.progress')].some(each => each.textContent)")
            self.page.wait_for_timeout(300)

    def wait(self, expression: str, seconds: float = 30.0) -> None:
        """Wait until it is so. Playwright's own way is ``eval``, which the page forbids."""
        deadline = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, f"not so after {seconds:.0f} s: {expression}"
            self.page.wait_for_timeout(50)

    def section(self, name: str) -> Locator:
        return self.page.locator(f"#{name}")

    def rows(self, section: str) -> list[list[str]]:
        """The text of each cell that is seen of a section's large table."""
        return self.page.locator(f"#{section} table.data").first.evaluate(
            """table => [...table.tBodies[0].rows]
                .filter(row => !row.querySelector('.dt-empty'))
                .map(row => [...row.cells].map(cell => cell.innerText.trim()))"""
        )

    def info(self, section: str) -> str:
        return self.page.locator(f"#{section} .info").first.inner_text()

    def search(self, section: str, text: str) -> None:
        self.page.locator(f"#{section} input[type=search]").fill(text)
        self.page.wait_for_timeout(300)
        self.settled()

    def choose(self, section: str, label: str, option: str) -> None:
        self.section(section).get_by_label(label, exact=True).select_option(label=option)
        self.settled()

    def press(self, section: str, name: str) -> None:
        self.section(section).get_by_role("button", name=name).first.click()
        self.settled()

    def screenshot(self, name: str, *, full: bool = True) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=full)

    def width(self) -> int:
        """How wide what is in the page is: more than the window, and it moves sideways."""
        found: int = self.page.evaluate("document.documentElement.scrollWidth")
        return found

    def axe(self) -> list[str]:
        """What axe-core finds wrong, as sentences."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page, options={"resultTypes": ["violations"], "preload": False})
        return [
            f"{violation['id']}: {violation['help']}: {node['html'][:150]}"
            for violation in found.response["violations"]
            for node in violation["nodes"]
        ]


@pytest.fixture
def tab(browser: Browser) -> Iterator[Any]:
    """Makes tabs; at the end none of them may have met an error or asked anybody else."""
    tabs: list[Tab] = []

    def make(viewport: dict[str, int] = DESKTOP, *, is_quiet: bool = True, **options: Any) -> Tab:
        context = browser.new_context(viewport=viewport, locale="en-GB", **options)
        # axe is put into the page by the test; what the page itself may do stays forbidden.
        made = Tab(context.new_page())
        made.page.on("console", lambda said: made.problems.append(f"{said.type} said: {said.text}"))
        made.page.on("pageerror", lambda error: made.problems.append(f"error: {error}"))
        made.page.on("dialog", lambda dialog: made.problems.append(f"dialog: {dialog.message}"))
        made.page.on("request", lambda request: made.requests.append(request.url))
        made.page.on(
            "requestfailed", lambda request: made.problems.append(f"failed: {request.url}")
        )
        if is_quiet:
            tabs.append(made)
        return made

    yield make
    for each in tabs:
        each.page.context.close()
        assert each.problems == []
        for url in each.requests:
            assert url.startswith(("file:///", "http://127.0.0.1:", "data:")), url
