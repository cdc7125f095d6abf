from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_padding_is_where_simpletuner_itself_would_zero_it(rooms: dict[str, Any]) -> None:
    found = rooms["text"]
    assert found["t5"] == found["not zeroed"]
    assert 0 < sum(found["t5"]) < len(found["t5"])
    assert found["clip"] == found["clip tokens"]


def test_a_mask_that_simpletuner_has_is_taken(rooms: dict[str, Any]) -> None:
    assert rooms["text"]["given"] == [[True, True, False, False]]
