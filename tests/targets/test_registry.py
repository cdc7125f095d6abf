"""Every trainer's format, by its row."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel
from peft import LoraConfig, PeftConfig, get_peft_model

from lokr_weighting import LokrWeightingError, Plan, Recipe, make_plan
from lokr_weighting.models.blocks import block_names
from lokr_weighting.models.skeleton import Skeleton, skeleton_of
from lokr_weighting.targets.lora import lora_config
from lokr_weighting.targets.lycoris import config_of, read_config
from lokr_weighting.targets.peft.layout import read_configs
from lokr_weighting.targets.registry import FORMATS, LYCORIS, NotExact
from tests.conftest import Run, random_heatmaps


@pytest.fixture(scope="module")
def plan(small: SD3Transformer2DModel) -> Plan:
    return make_plan(random_heatmaps(12), small, Recipe(max_factor=5))


@pytest.fixture(scope="module")
def flux() -> FluxTransformer2DModel:
    """Its LoRA is the only one in sd-scripts that takes a rank for each module."""
    with torch.device("meta"):
        return FluxTransformer2DModel(
            num_layers=2,
            num_single_layers=3,
            attention_head_dim=32,
            num_attention_heads=4,
            joint_attention_dim=64,
            pooled_projection_dim=64,
            axes_dims_rope=(8, 12, 12),
        )


def planned_for(
    name: str, small: SD3Transformer2DModel, flux: FluxTransformer2DModel, blocks: str | None = None
) -> tuple[Skeleton, Plan]:
    """A model that a format can be for, and a plan in the format's own Linears."""
    skeleton = skeleton_of(flux if name == "kohya-lora" else small)
    linears, count = FORMATS[name].linears, len(block_names(skeleton))
    return skeleton, make_plan(
        random_heatmaps(count),
        skeleton,
        Recipe(max_factor=5),
        blocks=blocks,
        linears=None if linears is None else linears(skeleton),
    )


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_plan_is_prepared_read_back_and_written_alike_in_every_format(
    name: str, small: SD3Transformer2DModel, flux: FluxTransformer2DModel, tmp_path: Path
) -> None:
    row = FORMATS[name]
    skeleton, plan = planned_for(name, small, flux)
    paths = []
    for folder, model in (("read", skeleton.to_module()), ("not", None)):
        prepared = row.prepare(plan, model, None)
        assert (prepared.read_back is None) == (model is None)
        assert not list(tmp_path.glob(f"{folder}/*"))
        paths.append(tmp_path / folder / row.output)
        prepared.write(paths[-1])
        assert paths[-1].is_dir() == row.is_folder
    read, unread = (
        {file.relative_to(path): file.read_bytes() for file in path.rglob("*.json")}
        if path.is_dir()
        else path.read_bytes()
        for path in paths
    )
    assert read == unread


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("blocks", ["top:2", "1,image"])
def test_a_part_of_a_model_adapts_nothing_else_in_any_format(
    name: str, blocks: str, small: SD3Transformer2DModel, flux: FluxTransformer2DModel
) -> None:
    skeleton, part = planned_for(name, small, flux, blocks)
    assert part.selected is not None
    assert part.selected.left_out
    said = FORMATS[name].prepare(part, skeleton.to_module(), None).read_back or ""
    # patterns for block 1 must not match 10 and 11, nor what is left out inside it
    if name == "lora":
        made = get_peft_model(skeleton.to_module(), lora_config(part))  # pyright: ignore[reportArgumentType]
        assert {*made.targeted_module_names} == {linear.name for linear in part.linears}
    elif name == "kohya-lora":
        assert f"{len(part.linears)} modules get their ranks and no others" in said
    else:
        assert f"all {len(part.linears)} modules as planned" in said


def test_each_format_is_what_its_trainer_reads(plan: Plan, tmp_path: Path) -> None:
    for name, row in FORMATS.items():
        if row.linears is None:
            row.prepare(plan, None, None).write(tmp_path / name)
    assert read_config(tmp_path / "lycoris") == config_of(plan)
    assert sum(len(each.target_modules or ()) for each in read_configs(tmp_path / "peft").values())
    assert isinstance(PeftConfig.from_pretrained(str(tmp_path / "lora")), LoraConfig)


def test_a_network_that_is_not_the_plans_is_refused_with_where_it_differs(
    plan: Plan, small: SD3Transformer2DModel
) -> None:
    linear = plan.linears[0].model_copy(update={"name": "transformer_blocks.0.nothing"})
    wrong = plan.model_copy(update={"linears": (linear, *plan.linears[1:])})
    with pytest.raises(NotExact, match="would not train this plan") as error:
        LYCORIS.prepare(wrong, skeleton_of(small).to_module(), None)
    assert isinstance(error.value, LokrWeightingError)
    assert "transformer_blocks.0.nothing is planned but not adapted" in error.value.differences
    assert error.value.readback.modules


def test_a_lycoris_configuration_without_read_back_needs_no_torch(
    plan: Plan, tmp_path: Path
) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(plan.model_dump(mode="json")))
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from lokr_weighting import read_plan\n"
        "from lokr_weighting.targets.registry import LYCORIS\n"
        "LYCORIS.prepare(read_plan(Path('plan.json')), None, None).write(Path('config.json'))\n"
        "assert not {'torch', 'diffusers', 'lycoris', 'peft'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    assert read_config(tmp_path / "config.json") == config_of(plan)


def test_the_command_line_offers_the_rows_that_there_are(
    cli: Callable[..., Run], tmp_path: Path
) -> None:
    run = cli("plan", "--reference", "sd3.5-large", "--target", "musubi")
    assert run.code == 2
    said = " ".join(run.err.replace("│", " ").split())
    assert "'musubi' is none of lycoris, peft, lora, kohya, kohya-lora" in said
    assert not list(tmp_path.iterdir())
