"""A real browser for the tests of pages: the Chromium that is installed, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def chromium() -> str:
    """The browser's file: $CHROMIUM, or the first on PATH that there is."""
    found = next(filter(None, map(shutil.which, (os.environ.get("CHROMIUM", ""), *NAMES))), None)
    assert found, "no Chromium on PATH: install Debian's `chromium`, or set CHROMIUM to one"
    return found


@contextmanager
def browser() -> Iterator["Browser"]:
    """A browser without a window."""
    # here, because the tests of the lowest versions import this file and have no browser
    from playwright.sync_api import sync_playwright

    options = [*OPTIONS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=options)
        yield launched
        launched.close()


def open_page(browser: "Browser", file: Path, **options: Any) -> tuple["Page", list[str]]:
    """A file in a page of its own, and a list that grows by what it fetches and complains of."""
    page = browser.new_page(**options)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url.partition(",")[0]))
    page.goto(file.as_uri())
    said.remove(file.as_uri())
    return page, said


def violations(page: "Page") -> list[str]:
    """What axe-core finds wrong with a page, in words."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html']}" for each in found for node in each["nodes"]]
