import json
from pathlib import Path

import numpy as np
import pytest

from lokr_weighting import LokrWeightingError, load_reference


def test_the_shipped_measurement_says_where_its_numbers_come_from_and_how_exact_they_are() -> None:
    folder = Path(str(__import__("lokr_weighting").__file__)).parent / "measurements"
    data = json.loads((folder / "sd3.5-large.json").read_text())
    assert "read back from its published figures" in data["description"]
    for stream in ("image", "text"):
        low, value, high = (np.array(data[stream + end]) for end in ("_lo", "", "_hi"))
        assert (low <= value).all()
        assert (value <= high).all()


def test_the_shipped_measurement_has_38_blocks_and_text_in_37() -> None:
    heatmaps = load_reference("sd3.5-large")
    assert heatmaps.image.shape == heatmaps.text.shape == (10, 38)
    assert heatmaps.has_text.tolist() == [True] * 37 + [False]


def test_an_unknown_reference_is_answered_with_the_shipped_ones() -> None:
    with pytest.raises(
        LokrWeightingError, match=r"no reference measurement named 'sd9'; shipped: sd3\.5"
    ):
        load_reference("sd9")
