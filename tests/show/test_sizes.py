"""The page of splits and sizes, and its table."""

import pytest

from lokr_weighting.models.blocks import block_linears
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.models.table import checkpoints
from lokr_weighting.plan.sizes import uniform_sizes
from tests.inputs import SCRIPTS

PAGE = SCRIPTS.parent / "docs" / "sizes.md"


def test_the_page_is_todays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from write_sizes import todays

    assert PAGE.read_text(encoding="utf-8") == todays()


@pytest.mark.parametrize("model", checkpoints())
def test_every_known_model_has_its_row_and_section(model: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = uniform_sizes(block_linears(load_skeleton(model)))
    at_8 = next(row for row in rows if row.low <= 8 <= row.high)
    row = next(line for line in text.splitlines() if line.startswith(f"| {model} |"))
    assert f" {at_8.parameters / 1e6:,.1f} |" in row
    assert f"\n## {model}\n" in text
