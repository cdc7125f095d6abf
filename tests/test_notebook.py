"""The notebook runs from top to bottom, and what it shows in the repository is small and clean."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.inputs import SCRIPTS, imported

ROOT = SCRIPTS.parent
NOTEBOOK = ROOT / "examples" / "digits.ipynb"
LARGEST = 200_000  # bytes


def shown(notebook: Any) -> list[dict[str, Any]]:
    """What each code cell shows at its end."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [dict(cell.outputs[-1].data) if cell.outputs else {} for cell in cells]


def loss(results: list[dict[str, Any]]) -> tuple[float, float]:
    (text,) = [each["text/plain"] for each in results if "loss" in each.get("text/plain", "")]
    first, last = re.findall(r"\d+\.\d+", text)
    return float(first), float(last)


def test_what_is_kept_is_small_and_of_no_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < LARGEST
    assert not re.search(r"/(tmp|home|work|root|usr|Users)/", re.sub(r"base64,[\w+/=]+", "", text))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    results = shown(notebook)
    assert all(results), "every cell shows something"
    assert "text/html" in results[1], "the calibration"
    assert "text/html" in results[2], "the plan"
    assert "image/png" in results[-1], "a digit"
    assert not [
        each
        for cell in notebook.cells
        for each in cell.get("outputs", ())
        if each.output_type in ("stream", "error")
    ]


@pytest.mark.slow
def test_it_runs_and_the_adapter_learns(tmp_path: Path) -> None:
    (tmp_path / "examples").mkdir()
    (tmp_path / "scripts").symlink_to(SCRIPTS)
    copy = tmp_path / "examples" / NOTEBOOK.name
    copy.write_bytes(NOTEBOOK.read_bytes())
    results = shown(imported(SCRIPTS / "run_notebook.py").executed(copy))
    first, last = loss(results)
    assert last < 0.9 * first
    for html, words in ((results[1], "samples: 40"), (results[2], "trainable parameters")):
        assert words in html["text/html"]
        assert 'src="data:image/png;base64,' in html["text/html"]
    assert "image/png" in results[-1]
    assert [*copy.parent.iterdir()] == [copy], "what it writes goes elsewhere"
