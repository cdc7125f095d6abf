"""SimpleTuner's server on a free port with a home of its own, and its page in a browser."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.plugin.runs import MODULE, environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

LIBRARIES = Path(__file__).parent / "node_modules"
"""What the page fetches from the net, installed by `make test` as package.json says."""
CDN = re.compile(r"https://(?:unpkg\.com|cdn\.jsdelivr\.net/npm)/((?:@[^/]+/)?[^@/]+)@[^/]+/(.*)")
STEPS = {
    "default_configs_dir": (3, "config"),
    "default_output_dir": (2, "output"),
    "default_datasets_dir": (3, "datasets"),
}
"""The page's questions at the first start -> the version of each, and the folder it asks for."""


def welcome(home: Path, active: str) -> Path:
    """Answer the page's first questions, as its own answers are kept; the folder of its runs."""
    root = home / ".simpletuner"
    folders = {step: str(root / name) for step, (_, name) in STEPS.items()}
    processes = {"--num_processes": 1, "mode": "auto"}
    steps: dict[str, dict[str, Any]] = {
        step: {"completed_version": version, "value": folders[step]}
        for step, (version, _) in STEPS.items()
    }
    steps["accelerate_defaults"] = {"completed_version": 2, "value": processes}
    for step in steps.values():
        step["completed_at"] = "2026-01-01T00:00:00+00:00"
    defaults = {step.removeprefix("default_"): folder for step, folder in folders.items()}
    defaults |= {"active_config": active, "accelerate_overrides": processes}
    (root / "webui").mkdir(parents=True)
    (root / "webui" / "onboarding.json").write_text(json.dumps({"steps": steps}))
    (root / "webui" / "defaults.json").write_text(json.dumps(defaults))
    return root / "config"


@contextmanager
def served(home: Path, log: Path) -> Iterator[str]:
    """`python -m lokr_weighting_simpletuner server`; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE, "server", "--host", "127.0.0.1", "--port", str(port)],
            cwd=home,
            env=environment(HOME=str(home)),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            _await(address, process, log)
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


def _await(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 180
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text(errors="replace")
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError(log.read_text(errors="replace"))


def trainer_page(browser: "Browser", address: str) -> "Page":
    """SimpleTuner's page, with what it fetches from the net taken from `LIBRARIES`."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.route(lambda url: not url.startswith(address), _library)
    page.goto(f"{address}/web/trainer")
    page.get_by_label("Toggle events panel").click()
    return page


def _library(route: "Route") -> None:
    found = CDN.match(route.request.url)
    file = LIBRARIES / found[1] / found[2] if found else None
    if file is not None and file.is_file():
        route.fulfill(path=file)
    else:
        route.abort()


def open_tab(page: "Page", name: str) -> None:
    """One of the page's tabs, without the panel that lies on it at first."""
    page.locator(f'[data-tab="{name}"]').first.click()
    page.locator(f"#{name}-tab-content").wait_for()
    dismiss = page.locator(f"#{name}-tab-content button.hero-dismiss-btn:visible")
    if dismiss.count():
        dismiss.first.click()


def save(page: "Page") -> None:
    """Save the configuration, as the page asks."""
    page.get_by_label("Save configuration").click()
    with page.expect_response("**/api/training/config") as saved:
        page.get_by_role("button", name="Save Configuration").last.click()
    assert saved.value.ok, saved.value.text()
