"""What the report says is true of the recipe that was used."""

import pytest

from lokr_weighting import Plan, Recipe, load_reference, make_plan
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.show.report.content import read_back, summary


def plan(**settings: object) -> Plan:
    recipe = Recipe.model_validate(settings)
    return make_plan(load_reference("sd3.5-large"), "sd3.5-large", recipe)


def test_critical_blocks_by_the_rule_are_said_to_exceed_it() -> None:
    (_, critical) = summary(plan())
    assert "In at least 50% of the timestep bins they lie above the 95th percentile" in critical
    assert "0 (image and text), 31 (text), 35 (image)" in critical


def test_critical_blocks_given_by_hand_are_not_said_to_exceed_anything() -> None:
    (_, critical) = summary(plan(critical=(3, 7)))
    assert critical.startswith("Critical blocks: 3, 7, given in the recipe. They take ")
    assert "percentile" not in critical


def test_without_critical_blocks_nothing_is_said_of_them() -> None:
    assert len(summary(plan(critical="off"))) == 1


@pytest.mark.parametrize("known", [True, False])
def test_the_read_back_is_the_targets_own_sentence(known: bool) -> None:
    model = load_skeleton("sd3.5-large").to_module() if known else None
    said = read_back(plan(), model)
    assert ("makes all 529 modules as planned" in said) == known
    assert said.startswith("LyCORIS" if known else "Not read back")
