"""UNets: blocks of several lists, grouped by width, of SD 1.5's and SDXL's shape."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from lokr_weighting import LokrWeightingError, Probe, calibrate, make_plan
from lokr_weighting.measure.stop import Stop
from lokr_weighting.models.blocks import block_linears, block_names, lists_of
from lokr_weighting.models.known import load_config, load_skeleton
from lokr_weighting.studies.ablate import standard_strategies
from lokr_weighting.studies.strategies import Strategy, executed
from lokr_weighting.targets.registry import LYCORIS
from tests.conftest import Run
from tests.families.slow import distances, image_alone
from tests.families.unets import ATTENTION, UNETS


@pytest.fixture(scope="module")
def models() -> dict[str, UNet2DConditionModel]:
    return {name: unet.build() for name, unet in UNETS.items()}


@pytest.fixture(scope="module")
def folders(
    models: dict[str, UNet2DConditionModel], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Folders as pipelines have them, with the UNets' configurations."""
    root = tmp_path_factory.mktemp("unets")
    for name, model in models.items():
        model.save_config(root / name / "unet")
    return {name: root / name for name in models}


@pytest.mark.parametrize("name", UNETS)
def test_every_block_is_that_of_a_slow_reference_in_the_order_they_run(
    name: str, models: dict[str, UNet2DConditionModel]
) -> None:
    model, unet = models[name], UNETS[name]
    expected = distances(model, unet.inputs(), dict.fromkeys(unet.lists, image_alone()))
    ran: list[str] = []
    with Probe(model) as probe, torch.no_grad():
        for block in probe.blocks:
            block.module.register_forward_hook(lambda *_, own=block.name: ran.append(own))
        found = probe.measure(lambda: model(**unet.inputs()))
    assert [block.name for block in probe.blocks] == unet.names == ran
    assert found.has_image.all()
    assert not found.has_text.any()
    for place, block in enumerate(unet.names):
        image, text = expected[block]
        assert text is None
        assert image is not None
        assert np.abs(found.image[:, place] - image.mean(dim=1).numpy()).max() < 1e-6
        assert np.abs(found.image_last[:, place] - image[:, -1].numpy()).max() < 1e-6


@pytest.mark.parametrize("name", UNETS)
def test_feed_forward_is_the_base_and_what_is_outside_blocks_is_not_planned(
    name: str, models: dict[str, UNet2DConditionModel]
) -> None:
    linears = block_linears(models[name])
    inside = [each.name.removeprefix(f"{each.block}.") for each in linears]
    feed_forward = {"ff.net.0.proj", "ff.net.2"}
    attention = {f"attn{n}.to_{x}" for n in (1, 2) for x in ("q", "k", "v", "out.0")}
    assert set(inside) == feed_forward | attention
    assert {own for own, each in zip(inside, linears, strict=True) if each.base} == feed_forward
    assert all(each.stream == "image" and not each.kernel for each in linears)


@pytest.mark.parametrize("name", UNETS)
def test_a_plan_from_a_calibration_is_read_back_exact_from_a_folder(
    name: str, models: dict[str, UNet2DConditionModel], folders: dict[str, Path]
) -> None:
    unet = UNETS[name]

    def forward(model: Any, batch: dict[str, Any], timesteps: Tensor) -> None:
        model(**batch | {"timestep": timesteps * 999})

    batches = [unet.inputs(seed) for seed in range(3)]
    calibration = calibrate(models[name], batches, forward, stop=Stop(samples=20))
    assert calibration.blocks == tuple(unet.names)
    plan = make_plan(calibration, str(folders[name]), budget="uniform:3")
    prepared = LYCORIS.prepare(plan, load_skeleton(str(folders[name])).to_module(), None)
    assert prepared.read_back is not None
    assert f"all {len(plan.linears)} modules as planned" in prepared.read_back


@pytest.mark.parametrize("name", UNETS)
def test_a_folder_and_its_skeleton_have_the_models_blocks(
    name: str, folders: dict[str, Path], cli: Callable[..., Run], tmp_path: Path
) -> None:
    folder, names = folders[name], UNETS[name].names
    assert load_config(str(folder))["_class_name"] == "UNet2DConditionModel"
    assert block_names(load_skeleton(str(folder))) == names
    assert load_config(str(folder / "unet"))["_class_name"] == "UNet2DConditionModel"
    config = tmp_path / "config.json"
    config.write_text(
        '{"algo": "lokr", "multiplier": 1, "linear_dim": 1000000, "linear_alpha": 1, "factor": 2,'
        ' "apply_preset": {"target_module": [], "use_fnmatch": true,'
        ' "name_algo_map": {"*.transformer_blocks.*": {"factor": 2}}}}'
    )
    said = cli("inspect", config, "--model", folder, "--trainer", "diffusers", "--json")
    assert said.code == 0, said.err
    assert {row["block"] for row in said.json["blocks"]} == set(names)


@pytest.mark.parametrize("name", UNETS)
def test_a_block_of_one_of_the_lists_can_be_skipped(
    name: str, models: dict[str, UNet2DConditionModel]
) -> None:
    model, unet = models[name], UNETS[name]
    skipped = [each for each in standard_strategies(unet.names) if each.first == each.last]
    assert [f"{each.path}.{each.first}" for each in skipped] == unet.names
    with torch.no_grad():
        before = model(**unet.inputs()).sample
        with executed(model, Strategy("skip", "mid_block.attentions.0.transformer_blocks", 0, 0)):
            changed = model(**unet.inputs()).sample
        again = model(**unet.inputs()).sample
    assert not torch.equal(before, changed)
    assert torch.equal(before, again)
    with (
        pytest.raises(LokrWeightingError, match=r"only down_blocks\.\d\.attentions\.0\.trans"),
        executed(model, Strategy("skip", "transformer_blocks", 0, 0)),
    ):
        pass


def test_blocks_of_several_widths_are_not_compared(models: dict[str, UNet2DConditionModel]) -> None:
    refused = r"down_blocks\.1\.attentions\.0\.transformer_blocks\.0 hands on .* without similarity"
    unet = UNETS["sd 1.5"]
    with (
        Probe(models["sd 1.5"], similarity=True) as probe,
        torch.no_grad(),
        pytest.raises(LokrWeightingError, match=refused),
    ):
        probe.measure(lambda: models["sd 1.5"](**unet.inputs()), samples=[0, 1])


def test_lists_that_a_configuration_leaves_out_are_left_out() -> None:
    """Without a middle, and with nothing that attends to text."""
    small: dict[str, Any] = {
        "block_out_channels": (8, 16),
        "norm_num_groups": 4,
        "cross_attention_dim": 24,
    }
    kinds: dict[str, Any] = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    with torch.device("meta"):
        without = UNet2DConditionModel(
            **small, **kinds, mid_block_type=None, layers_per_block=1, attention_head_dim=2
        )
        plain = UNet2DConditionModel(
            **small,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
            mid_block_type=None,
        )
    paths = [f"down_blocks.0.{ATTENTION.format(0)}"]
    paths += [f"up_blocks.1.{ATTENTION.format(number)}" for number in range(2)]
    assert [blocks.path for blocks in lists_of(without)] == paths
    with pytest.raises(LokrWeightingError, match="UNet2DConditionModel has no blocks that can be"):
        block_names(plain)
