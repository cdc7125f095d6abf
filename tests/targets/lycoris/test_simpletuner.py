"""What SimpleTuner refuses and cuts: its own lines, in `cmd_args.py` and `trainer.py`."""

from typing import Any

import pytest

from lokr_weighting.targets.lycoris import LycorisConfig
from lokr_weighting.targets.lycoris.simpletuner import simpletuner_changes

WHOLE = {"algo": "lokr", "multiplier": 1.0, "linear_dim": 16, "linear_alpha": 1}


def changes(config: dict[str, Any]) -> dict[str, str]:
    return simpletuner_changes(LycorisConfig.model_validate(config))


@pytest.mark.parametrize("key", WHOLE)
def test_a_key_that_simpletuner_asks_for_is_missed(key: str) -> None:
    assert changes(WHOLE) == {}
    without = {name: value for name, value in WHOLE.items() if name != key}
    assert changes(without) == {key: "SimpleTuner refuses a configuration without it"}


def test_a_full_matrix_needs_no_rank() -> None:
    without = {key: value for key, value in WHOLE.items() if key != "linear_dim"}
    assert changes(without | {"full_matrix": True}) == {}


def test_what_is_no_integer_is_cut() -> None:
    found = changes(WHOLE | {"multiplier": 0.5, "linear_alpha": 1.5})
    assert found["multiplier"] == "SimpleTuner cuts 0.5 to 0; nothing would be trained"
    assert found["linear_alpha"] == "SimpleTuner cuts 1.5 to 1"
    assert changes(WHOLE | {"linear_dim": None}) == {"linear_dim": "SimpleTuner refuses null here"}
