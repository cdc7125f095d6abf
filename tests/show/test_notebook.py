"""What a notebook shows, and what a terminal does."""

import base64
import dataclasses
import io
import re
import subprocess
import sys

import pytest
from PIL import Image

from lokr_weighting import Heatmaps, Plan, load_reference, make_plan
from tests.conftest import random_heatmaps
from tests.records.test_saving import calibration


def pictures(html: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


def shown(thing: Heatmaps | Plan) -> str:
    html = thing._repr_html_()
    assert html is not None
    return html


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(load_reference("sd3.5-large"), "sd3.5-large", budget="120M")


def test_a_calibration_shows_its_heatmaps_and_numbers() -> None:
    measured = calibration()
    html = measured._repr_html_()
    assert html is not None
    (picture,) = pictures(html)
    assert picture.width > 2 * picture.height
    assert "samples: 39" in html
    assert html.count("<tr>") == 1 + 12
    first = measured.heatmaps().image.mean(axis=0)[0]
    assert f"{first:.4f}" in html
    assert len(html) < 100_000


def test_a_plan_shows_its_table_and_remarks(plan: Plan) -> None:
    html = shown(plan)
    assert len(pictures(html)) == 1
    assert html.count("<tr>") == 1 + len(plan.blocks)
    assert "<summary>38 blocks</summary>" in html
    assert f"{plan.parameters:,} trainable parameters" in html


def test_blocks_without_text_have_none_and_names_are_text_not_markup() -> None:
    heatmaps = dataclasses.replace(random_heatmaps(3), blocks=("<b>", "b", "c"))
    html = shown(heatmaps)
    assert "<b>" not in html
    assert "&lt;b&gt;" in html
    assert html.count("<td>-</td>") == 1


def test_what_cannot_be_drawn_is_left_to_the_repr() -> None:
    few = dataclasses.replace(calibration(), records=calibration().records[:3])
    assert few._repr_html_() is None


def test_reprs_are_one_short_line(plan: Plan) -> None:
    measured = calibration()
    things = (measured, measured.heatmaps(), measured.stacked(), measured.records[0], plan)
    for thing in (*things, measured.gains):
        assert len(repr(thing)) < 160
        assert "\n" not in repr(thing)
    assert repr(plan) == str(plan)
    assert repr(plan).startswith("Plan(model='sd3.5-large', 38 blocks, ")
    assert "39 samples, 12 blocks, not_finite=1" in repr(measured)
    assert repr(measured.records[0]) == "Record(sample=0, timestep=0.0500, 12 blocks)"


def test_nothing_is_drawn_until_a_notebook_asks() -> None:
    code = (
        "import sys; from lokr_weighting import load_reference; "
        "repr(load_reference('sd3.5-large')); sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
