"""The table of a plan says what the plan's numbers are of."""

import numpy as np

from lokr_weighting import Heatmaps, Plan, Recipe, load_reference, make_plan
from lokr_weighting.plan.plan import BlockPlan
from lokr_weighting.show.plan_tables import block_rows, plan_remarks
from lokr_weighting.show.report.captions import pictures
from tests import mixed

IMAGE_ALONE = "No block hands a text stream on: the image alone counts, with the whole weight."
TEXT_COUNTS = "Blocks of context_refiner have text alone, which counts with the whole weight."
IMAGE_COUNTS = "Blocks of noise_refiner have the image alone, which counts with the whole weight."


def mixed_plan(**settings: object) -> Plan:
    return make_plan(mixed.heatmaps(), mixed.lumina(), Recipe.model_validate(settings))


def without_text() -> tuple[Heatmaps, Plan]:
    reference = load_reference("sd3.5-large")
    heatmaps = Heatmaps(reference.image, np.full_like(reference.text, np.nan))
    return heatmaps, make_plan(heatmaps, "sd3.5-large")


def caption(heatmaps: Heatmaps, plan: Plan) -> str:
    return next(x.caption for x in pictures(heatmaps, plan) if x.name == "contributions")


def test_a_stream_that_a_block_does_not_have_is_a_dash() -> None:
    rows = block_rows(mixed_plan())
    assert [row[1] == "-" for row in rows] == [i in mixed.TEXT for i in range(10)]
    assert [row[2] == "-" for row in rows] == [i in mixed.IMAGE for i in range(10)]


def test_blocks_of_one_stream_alone_are_named_with_how_they_count() -> None:
    remarks = plan_remarks(mixed_plan())
    assert TEXT_COUNTS in remarks
    assert IMAGE_COUNTS in remarks
    unweighted = plan_remarks(mixed_plan(image_weight=1, text_weight=0))
    assert "Blocks of context_refiner have text alone, which has no weight: they get least." in (
        unweighted
    )


def test_a_model_without_text_is_said_to_be_weighted_by_its_image_alone() -> None:
    heatmaps, plan = without_text()
    assert IMAGE_ALONE in plan_remarks(plan)
    assert "averaged over the bins, of the image alone, normalised" in caption(heatmaps, plan)


def test_where_distances_do_not_decide_nothing_is_said_of_their_weight() -> None:
    _, plan = without_text()
    other = plan.model_copy(update={"recipe": Recipe(name="ablation")})
    assert "No block hands a text stream on." in plan_remarks(other)


def test_the_studys_own_plan_is_said_nothing_of_it() -> None:
    reference = load_reference("sd3.5-large")
    plan = make_plan(reference, "sd3.5-large")
    assert plan.blocks[-1].text is None
    assert not [line for line in plan_remarks(plan) if "alone" in line]
    assert "weighted 2/3 image and 1/3 text, normalised" in caption(reference, plan)
    assert "1/3 text where a block has both" in caption(mixed.heatmaps(), mixed_plan())


def test_what_is_left_out_is_said_and_stands_in_no_figure() -> None:
    reference = load_reference("sd3.5-large")
    plan = make_plan(reference, "sd3.5-large", Recipe(critical=(3, 9)), blocks="3,4,image")
    assert (
        "Planned is a part of the model alone (--blocks 3,4,image). Left out and not adapted: 515 "
        "of 529 modules: 36 of 38 blocks and those that only text tokens pass through."
    ) in plan_remarks(plan)
    rows = block_rows(plan)
    assert [row[5] == "left out" for row in rows] == [i not in (3, 4) for i in range(38)]
    assert plan.critical == (3,)
    assert pictures(reference, plan)


def test_a_plans_block_may_lack_its_image() -> None:
    block = BlockPlan(name="a.0", image=None, text=0.1, contribution=1, factor=1)
    assert BlockPlan.model_validate_json(block.model_dump_json()) == block
