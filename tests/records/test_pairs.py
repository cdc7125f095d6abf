import json

import numpy as np
import pytest

from lokr_weighting import LokrWeightingError
from lokr_weighting.records.pairs import Pairs, line_of, parse_pairs


def test_a_line_reads_back_to_five_decimals() -> None:
    rng = np.random.default_rng(0)
    image, text = rng.uniform(-1, 1, (2, 10))
    text[6:] = np.nan  # the last of five blocks hands no text on
    line = line_of(4, Pairs(image, text))
    assert len(json.loads(line)["text"]) == 6
    sample, found = parse_pairs(line.encode(), "here")
    assert sample == 4
    np.testing.assert_allclose(found.image, image, atol=5.1e-6)
    np.testing.assert_allclose(found.text, text, atol=5.1e-6)


def test_blocks_without_an_image_are_null_and_read_back() -> None:
    image, text = np.array([[np.nan, np.nan, 0.25], [0.5, np.nan, np.nan]])
    line = line_of(0, Pairs(image, text))
    assert json.loads(line)["image"] == [None, None, 0.25]
    found = parse_pairs(line.encode(), "here")[1]
    np.testing.assert_array_equal(found.image, image)
    np.testing.assert_array_equal(found.text, text)


def test_a_model_without_text_has_an_empty_text_list() -> None:
    line = line_of(0, Pairs(np.zeros(3), np.full(3, np.nan)))
    assert json.loads(line)["text"] == []
    assert np.isnan(parse_pairs(line.encode(), "here")[1].text).all()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "here: "),
        ('{"sample": 1, "image": [2.0], "text": []}', "image.0 = 2.0"),
        ('{"sample": 1, "image": [0.5], "text": [], "more": 1}', "unknown key 'more'"),
        ('{"sample": 1, "image": [0.5, 0.5], "text": []}', "image has 2 pairs"),
        ('{"sample": 1, "image": [0.5], "text": [0.1, 0.2]}', "image has 1 pairs and text 2"),
    ],
)
def test_a_damaged_line_says_where_and_what(line: str, message: str) -> None:
    with pytest.raises(LokrWeightingError) as error:
        parse_pairs(line.encode(), "here")
    assert str(error.value).startswith("here: ")
    assert message in str(error.value)
