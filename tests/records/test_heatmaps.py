import json
from pathlib import Path

import numpy as np
import pytest

from lokr_weighting import LokrWeightingError, load_reference, read_heatmaps, write_heatmaps
from tests.conftest import random_heatmaps


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
    with pytest.raises(LokrWeightingError, match=r"'sd9'; shipped: sd3\.5-large"):
        load_reference("sd9")


def test_written_and_read_back_heatmaps_are_equal(tmp_path: Path) -> None:
    heatmaps = random_heatmaps(7, without_text=2)
    write_heatmaps(tmp_path / "h.json", heatmaps)
    again = read_heatmaps(tmp_path / "h.json")
    np.testing.assert_array_equal(again.image, heatmaps.image)
    np.testing.assert_array_equal(again.text, heatmaps.text)
    assert again.identity == heatmaps.identity


def test_identity_changes_with_any_number() -> None:
    a, b = random_heatmaps(5), random_heatmaps(5)
    b.image[3, 2] += 1e-12
    assert a.identity != b.identity


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": [[0.1, float("nan")]]}, "image.0.1"),
        ({"image": [[0.1, -0.2]]}, "image.0.1 = -0.2"),
        ({"image": [[0.1, 1.5]]}, "image.0.1 = 1.5"),
        ({"text": [[0.1], [0.2]]}, "text has 2 rows, image has 1"),
        ({"text": [[0.1, 0.2, 0.3]]}, "text has 3 blocks, image only 2"),
        ({"n_bins": 4}, "n_bins is 4, but image has 1 rows"),
        ({"bin_edges": [0.0, 0.9]}, "bin_edges must cut"),
        ({"blocks": ["a"]}, "blocks names 1 blocks"),
        ({"colour": 1}, "unknown key 'colour'"),
        ({"image": [[0.1, 0.2], [0.1]], "text": [[0.1], [0.1]]}, "rows of image differ"),
        ({"image": [[0.1], [0.1]], "text": [[0.1], [None]]}, "null in others"),
    ],
)
def test_a_faulty_heatmaps_file_is_refused_with_its_key(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    file = tmp_path / "h.json"
    file.write_text(json.dumps({"image": [[0.1, 0.2]], "text": [[0.1]]} | change))
    with pytest.raises(LokrWeightingError) as error:
        read_heatmaps(file)
    assert str(file) in str(error.value)
    assert message in str(error.value)
