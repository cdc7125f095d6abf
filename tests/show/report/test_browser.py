"""The report in a real browser: what the pointer and the keys show, tables that sort."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import Normalize
from PIL import Image

from lokr_weighting import load_reference, make_plan
from lokr_weighting.show.report import write_report
from tests.browser import browser, open_page, violations

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.slow

REFERENCE = load_reference("sd3.5-large")
WIDTHS = (390, 1280)
SCROLL = """(area, across) => {
  const outer = area.closest(".scrolls");
  outer.scrollLeft = area.offsetLeft + across * area.offsetWidth - outer.clientWidth / 2;
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "page.html"
    write_report(file, REFERENCE, make_plan(REFERENCE, "sd3.5-large"), read_back="As planned.")
    return file


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    with browser() as launched:
        yield launched


@pytest.fixture(params=WIDTHS)
def page(request: pytest.FixtureRequest, chromium: "Browser", report: Path) -> Iterator["Page"]:
    opened, said = open_page(chromium, report, viewport={"width": request.param, "height": 800})
    yield opened
    opened.close()
    # no network, no complaint; a heatmap's pixels are in the file
    assert set(said) <= {"data:image/png;base64"}


def cells(page: "Page", grid: str) -> "Locator":
    """The first figure's area of a grid."""
    return page.locator(f'.cells[data-grid="{grid}"]').first


def point(page: "Page", grid: str, bin_: int, block: int, bins: int = 10) -> str:
    """What the page says with the pointer on a cell; row 0 is at the bottom."""
    area = cells(page, grid)
    area.scroll_into_view_if_needed()
    columns = 38 if grid != "text" else 37
    across, upwards = (block + 0.5) / columns, (bin_ + 0.5) / bins
    # where the window is narrow the figure scrolls sideways
    area.evaluate(SCROLL, across)
    # a scroll hides what was shown, in the next frame
    page.evaluate(f"() => new Promise(done => {2 * 'requestAnimationFrame(() => '}done(){2 * ')'})")
    box = area.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + across * box["width"], box["y"] + (1 - upwards) * box["height"])
    return page.locator("#tip").inner_text()


def test_it_is_accessible_and_as_wide_as_the_window(page: "Page") -> None:
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert violations(page) == []
    point(page, "image", 3, 5)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize(("bin_", "block"), [(0, 0), (9, 36), (6, 30), (2, 7)])
def test_the_pointer_shows_a_cells_numbers(page: "Page", bin_: int, block: int) -> None:
    said = point(page, "text", bin_, block).splitlines()
    assert said[:2] == ["text stream", f"block {block} (transformer_blocks.{block})"]
    low, high = bin_ / 10, (bin_ + 1) / 10
    distance = REFERENCE.text[bin_, block]
    assert said[2] == f"timesteps {low:.2g} to {high:.2g}: distance {distance:.4f}"
    assert said[3] == f"block's mean {REFERENCE.text[:, block].mean():.4f}"
    assert ("island 19 to 31 (text)" in said[-1]) == (19 <= block <= 31)
    page.mouse.move(0, 0)
    assert page.locator("#tip").is_hidden()


def test_the_numbers_lie_on_their_cells(page: "Page") -> None:
    """The colour under the pointer is that of the number that is shown."""
    coloured = colormaps["viridis"](
        Normalize(REFERENCE.image.min(), REFERENCE.image.max())(REFERENCE.image)
    )
    for bin_, block in ((0, 0), (9, 1), (5, 35), (3, 33)):
        said = point(page, "image", bin_, block)
        assert f"distance {REFERENCE.image[bin_, block]:.4f}" in said
        box = page.locator(".mark:visible").bounding_box()
        assert box is not None
        page.mouse.move(0, 0)
        shot = np.array(Image.open(BytesIO(page.screenshot())).convert("RGB"))
        drawn = shot[int(box["y"] + box["height"] / 2), int(box["x"] + box["width"] / 2)]
        assert np.abs(drawn - 255 * coloured[bin_, block, :3]).max() < 3


def test_the_keys_go_from_cell_to_cell(page: "Page") -> None:
    area, tip = cells(page, "image"), page.locator("#tip")
    page.locator(".scrolls").first.focus()
    page.keyboard.press("Tab")
    assert area.evaluate("each => each === document.activeElement")
    assert "block 0 " in tip.inner_text()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
    assert "block 1 " in tip.inner_text()
    assert f"timesteps 0.1 to 0.2: distance {REFERENCE.image[1, 1]:.4f}" in tip.inner_text()
    page.keyboard.press("Escape")
    assert tip.is_hidden()


def test_bars_show_what_their_block_gets(page: "Page") -> None:
    said = point(page, "share", 0, 31, bins=1)
    assert "block 31 (transformer_blocks.31)" in said
    assert "177,438,758 parameters, 23.2%" in said
    assert "factor 1*" in said


def test_a_table_sorts_upwards_downwards_and_as_it_was(page: "Page") -> None:
    table = page.locator('[aria-label="The plan, block by block"] table')
    heading = table.locator("th", has_text="parameters")

    def column(number: int) -> list[str]:
        return table.locator(f"tbody td:nth-child({number})").all_inner_texts()

    found = {}
    for order in ("ascending", "descending", "none"):
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == order
        found[order] = [int(text.replace(",", "")) for text in column(8)]
    assert found["ascending"] == sorted(found["none"])
    assert found["descending"] == sorted(found["none"], reverse=True)
    assert found["none"] != found["ascending"]
    assert column(1) == [str(block) for block in range(38)]
    text = table.locator("th", has_text=re.compile("^text"))
    for _ in range(2):
        text.get_by_role("button").click()
        # the last block hands no text on: it is last both ways
        assert column(3)[-1] == "-"
    assert column(1)[0] == "0"


def test_what_was_found_stands_beside_its_block(page: "Page") -> None:
    row = page.locator('[aria-label="The plan, block by block"] tbody tr').nth(31)
    assert row.locator("td").last.inner_text().startswith("critical (text), island 19 to 31 (text)")


def test_a_finger_shows_a_cell(chromium: "Browser", report: Path) -> None:
    page, _ = open_page(
        chromium, report, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True
    )
    area = cells(page, "image")
    area.scroll_into_view_if_needed()
    area.tap(position={"x": 1, "y": 1})
    assert "block 0 (transformer_blocks.0)\ntimesteps 0.9 to 1" in page.locator("#tip").inner_text()
    page.close()


def test_without_scripts_all_is_there_to_read(chromium: "Browser", report: Path) -> None:
    page, _ = open_page(chromium, report, java_script_enabled=False)
    assert page.locator("svg[role=img]").count() == 5
    assert page.locator("#tip").is_hidden()
    assert page.locator("tr.critical").count() == 3
    page.close()
