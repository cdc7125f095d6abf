import json
from pathlib import Path

import numpy as np
import pytest

from lokr_weighting import LokrWeightingError, read_heatmaps, write_heatmaps
from tests import mixed
from tests.conftest import random_heatmaps


def test_written_and_read_back_heatmaps_are_equal(tmp_path: Path) -> None:
    heatmaps = random_heatmaps(7, without_text=2)
    write_heatmaps(tmp_path / "h.json", heatmaps)
    again = read_heatmaps(tmp_path / "h.json")
    np.testing.assert_array_equal(again.image, heatmaps.image)
    np.testing.assert_array_equal(again.text, heatmaps.text)
    assert again.identity == heatmaps.identity


def test_blocks_of_one_stream_alone_are_null_in_the_file_and_read_back(tmp_path: Path) -> None:
    heatmaps = mixed.heatmaps()
    write_heatmaps(tmp_path / "h.json", heatmaps)
    data = json.loads((tmp_path / "h.json").read_text())
    assert [each is None for each in data["image"][0]] == [i in mixed.TEXT for i in range(10)]
    assert [each is None for each in data["image_error"]] == [i in mixed.TEXT for i in range(10)]
    assert [each is None for each in data["text"][0]] == [i in mixed.IMAGE for i in range(10)]
    again = read_heatmaps(tmp_path / "h.json")
    for name in ("image", "text", "image_error", "text_error"):
        np.testing.assert_array_equal(getattr(again, name), getattr(heatmaps, name))
    assert (again.identity, again.blocks) == (heatmaps.identity, mixed.NAMES)


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
        (
            {"image": [[0.1, 0.2], [0.1]], "text": [[0.1], [0.1]]},
            "the rows of image differ in length",
        ),
        (
            {"image": [[0.1], [0.1]], "text": [[0.1], [None]]},
            "text has a block with a number in some bins and null in others",
        ),
        ({"image": [[0.1], [None]], "text": [[0.1], [0.1]]}, "image has a block with a number in"),
        ({"image": [[0.1, None]]}, "block 1 has a number in neither image nor text"),
        ({"image": [[None, 0.1]], "text": [[None]]}, "block 0 has a number in neither"),
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
