from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_a_change_of_any_one_weight_is_seen(rooms: dict[str, Any]) -> None:
    assert len(rooms["digests"]) == 6
    assert all(rooms["digests"].values())
