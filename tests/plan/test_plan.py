import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lokr_weighting import (
    LokrWeightingError,
    Plan,
    load_reference,
    make_plan,
    read_plan,
    write_plan,
)
from tests.conftest import random_heatmaps


@pytest.fixture(scope="module")
def published() -> Plan:
    return make_plan(load_reference("sd3.5-large"), "sd3.5-large")


def test_factors_that_become_one_split_are_shown(published: Plan) -> None:
    assert published.collapsed()["8"] == [8, 9, 10, 11, 12, 14]
    base = {x.split.label for x in published.linears if x.base and x.in_features == 2432}
    assert {label for label in base if "x" not in label} == {"1", "4", "8"}


@settings(max_examples=10)
@given(seed=st.integers(0, 2**16), budget=st.sampled_from([None, "3M", "uniform:6"]))
def test_written_and_read_back_a_plan_is_equal(
    tmp_path_factory: pytest.TempPathFactory, seed: int, budget: str | None
) -> None:
    plan = make_plan(random_heatmaps(24, seed), "sd3.5-medium", budget=budget)
    file = tmp_path_factory.mktemp("plan") / "plan.json"
    write_plan(file, plan)
    assert read_plan(file) == plan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(parameters=1), "the Linears add up to"),
        (lambda data: data["linears"][0].update(split=[1, 2, 3, 4]), "does not multiply"),
        (lambda data: data["linears"][0].update(block=99), "a block that the plan does not have"),
        (lambda data: data.update(extra=1), "unknown key 'extra'"),
    ],
)
def test_a_plan_that_was_changed_by_hand_is_refused(
    tmp_path: Path, published: Plan, change: object, message: str
) -> None:
    file = tmp_path / "plan.json"
    write_plan(file, published)
    data = json.loads(file.read_text())
    assert callable(change)
    change(data)
    file.write_text(json.dumps(data))
    with pytest.raises(LokrWeightingError, match=message):
        read_plan(file)
