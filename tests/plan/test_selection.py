"""A plan for a part of a model: what is asked for, what is planned, what is left out."""

from pathlib import Path

import numpy as np
import pytest

from lokr_weighting import LokrWeightingError, Plan, Recipe, Records, load_reference, make_plan
from lokr_weighting.models.blocks import block_linears, block_names
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.plan.plan import read_plan, write_plan
from lokr_weighting.plan.selection import read_selection
from lokr_weighting.plan.settled import judge
from tests.conftest import random_heatmaps

MODEL = "sd3.5-large"


@pytest.fixture(scope="module")
def whole() -> Plan:
    return make_plan(load_reference(MODEL), MODEL)


def blocks_in(plan: Plan) -> list[int]:
    return sorted({linear.block for linear in plan.linears})


def test_the_top_blocks_are_those_with_the_least_factors_then_the_largest_contributions(
    whole: Plan,
) -> None:
    plan = make_plan(load_reference(MODEL), MODEL, blocks="top:8")
    chosen = blocks_in(plan)
    assert len(chosen) == 8
    assert {*whole.critical} < {*chosen}

    def key(block: int) -> tuple[int, float]:
        assert whole.blocks[block].factor is not None
        return whole.blocks[block].factor or 0, -whole.blocks[block].contribution

    rest = [block for block in range(38) if block not in chosen]
    assert max(map(key, chosen)) <= min(map(key, rest))


def test_what_is_planned_is_planned_as_in_the_whole(whole: Plan) -> None:
    plan = make_plan(load_reference(MODEL), MODEL, blocks="3, 5-6, transformer_blocks.37")
    assert blocks_in(plan) == [3, 5, 6, 37]
    assert plan.linears == tuple(each for each in whole.linears if each.block in (3, 5, 6, 37))
    assert [block.contribution for block in plan.blocks] == [x.contribution for x in whole.blocks]
    assert [i for i, block in enumerate(plan.blocks) if block.factor is None] == [*plan.left_out]
    assert plan.selected is not None
    assert plan.selected.left_out == len(whole.linears) - len(plan.linears)


@pytest.mark.parametrize(("stream", "other"), [("image", "text"), ("text", "image")])
@pytest.mark.parametrize("model", ["sd3.5-medium", "flux.1-dev"])
def test_a_streams_linears_are_all_but_those_of_the_other_stream_alone(
    stream: str, other: str, model: str
) -> None:
    skeleton = load_skeleton(model)
    heatmaps = random_heatmaps(len(block_names(skeleton)))
    plan = make_plan(heatmaps, skeleton, blocks=stream)
    wanted = [each.name for each in block_linears(skeleton) if each.stream != other]
    assert [linear.name for linear in plan.linears] == wanted
    assert 0 < len(wanted) < len(block_linears(skeleton))
    both = make_plan(heatmaps, skeleton, blocks=f"1,{stream}")
    assert [x.name for x in both.linears] == [x.name for x in plan.linears if x.block == 1]


def test_a_list_is_asked_for_by_its_name() -> None:
    plan = make_plan(random_heatmaps(57), "flux.1-dev", blocks="single_transformer_blocks")
    assert blocks_in(plan) == [*range(19, 57)]


def test_a_budget_is_for_the_part() -> None:
    measured = load_reference(MODEL)
    plan = make_plan(measured, MODEL, budget="20M", blocks="top:8")
    assert 19.5e6 < plan.parameters <= 20e6
    uniform = make_plan(measured, MODEL, Recipe(strength=0), budget="uniform:8", blocks="top:8")
    assert {linear.split.label for linear in uniform.linears} == {"8"}
    with pytest.raises(LokrWeightingError, match=r"a plan for this model has at least"):
        make_plan(measured, MODEL, budget="760M", blocks="0")


def test_the_plans_file_says_which_part_it_is_and_a_whole_plans_says_nothing(
    whole: Plan, tmp_path: Path
) -> None:
    plan = make_plan(load_reference(MODEL), MODEL, blocks="top:8,image")
    write_plan(tmp_path / "part.json", plan)
    assert read_plan(tmp_path / "part.json") == plan
    assert '"blocks": "top:8,image"' in (tmp_path / "part.json").read_text()
    assert "selected" not in whole.model_dump()
    assert plan.identity != whole.identity


def test_a_part_of_everything_is_the_whole_plan(whole: Plan) -> None:
    plan = make_plan(load_reference(MODEL), MODEL, blocks="top:38")
    assert plan.linears == whole.linears
    assert plan.selected is not None
    assert plan.selected.left_out == 0


NAMES = [f"transformer_blocks.{i}" for i in range(4)]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("top:5", r"blocks = 'top:5': the model has 4 blocks, so top:1 to top:4"),
        ("top:0", "so top:1 to top:4 can be asked for"),
        ("3,9", r"'9' is no block of this model; its blocks are 0 to 3: transformer_blocks"),
        ("3-1", r"'3-1' is no block of this model"),
        ("", "'' is no block of this model"),
        ("imgae", "or image or text for one stream's Linears"),
        ("image,text", "image and text together are all Linears; write one of them, or none"),
    ],
)
def test_what_the_model_does_not_have_is_refused_by_name(asked: str, said: str) -> None:
    with pytest.raises(LokrWeightingError, match=said):
        read_selection(asked, NAMES)


def test_a_stream_that_passes_through_nothing_is_refused() -> None:
    skeleton = load_skeleton("wan2.1-1.3b")
    heatmaps = random_heatmaps(30, without_text=30)
    with pytest.raises(LokrWeightingError, match="no Linear is left to plan: in these blocks text"):
        make_plan(heatmaps, skeleton, blocks="text")


def test_a_resample_that_chooses_other_blocks_does_not_keep_the_plan() -> None:
    skeleton = load_skeleton("sd3.5-medium")
    linears, names = block_linears(skeleton), block_names(skeleton)
    rng = np.random.default_rng(0)
    image, text = rng.uniform(0.02, 0.3, (2, 40, len(names)))
    records = Records((np.arange(40) + 0.5) / 40, image, text)
    recipe = Recipe(critical="off")
    top = judge(
        records, linears, names, recipe, resamples=20, selection=read_selection("top:3", names)
    )
    given = judge(
        records, linears, names, recipe, resamples=20, selection=read_selection("0,1,2", names)
    )
    assert top.near <= given.near
    # what is left out whatever the samples say stays as it is
    assert np.all(given.kept[3:] == 1)
    assert np.all(given.kept[:3] < 1) or given.same == 1
