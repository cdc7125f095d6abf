"""Convolutions are planned, written, read back, trained and converted as Linears are.

On Sana, whose feed-forward is a 1x1, a depthwise 3x3 and a 1x1 convolution.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import SanaTransformer2DModel
from lycoris import LycorisNetwork, create_lycoris, create_lycoris_from_weights
from safetensors.torch import save_file
from torch import Tensor, nn

from lokr_weighting import BlockList, Family, LokrWeightingError, Plan, make_plan, register_family
from lokr_weighting.measure.gradients import gain
from lokr_weighting.models import table
from lokr_weighting.models.blocks import block_linears
from lokr_weighting.plan.splits import Split
from lokr_weighting.targets import peft as weighted
from lokr_weighting.targets.conversion import lycoris_to_peft, peft_to_lycoris
from lokr_weighting.targets.lycoris import LycorisConfig, added_by, config_of
from lokr_weighting.targets.lycoris.readback import read_back
from lokr_weighting.targets.registry import FORMATS
from lokr_weighting.targets.tensors import differences_from_plan
from tests.conftest import random_heatmaps
from tests.measure.test_gradients import reference_gain

FEED_FORWARD = {
    "conv_inverted": ((80, 16, 1, 1), 1),
    "conv_depth": ((80, 1, 3, 3), 80),
    "conv_point": ((16, 40, 1, 1), 1),
}


def sana() -> SanaTransformer2DModel:
    torch.manual_seed(0)
    return SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=8,
        sample_size=8,
    ).eval()


def plan_of(model: nn.Module, **options: Any) -> Plan:
    return make_plan(
        random_heatmaps(2, without_text=0), model, **{"budget": "uniform:3", **options}
    )


def output(model: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        return model(
            hidden_states=torch.randn(2, 4, 6, 8, generator=generator),
            encoder_hidden_states=torch.randn(2, 5, 8, generator=generator),
            timestep=torch.tensor([300.0, 500.0]),
        ).sample


def drawn(model: nn.Module) -> nn.Module:
    """The model with its adapters' tensors drawn at random."""
    with torch.no_grad():
        for each in model.parameters():
            if each.requires_grad:
                each.normal_(std=0.05)
    return model.eval()


def test_all_of_the_feed_forward_is_planned_with_the_blocks_own_factor() -> None:
    model = sana()
    planned = [linear for linear in block_linears(model) if linear.kernel]
    assert {x.name.rpartition(".")[2]: (x.shape, x.groups) for x in planned} == FEED_FORWARD
    assert all(linear.base for linear in planned)
    weights = {name: tuple(each.shape) for name, each in model.named_parameters()}
    assert all(weights[f"{linear.name}.weight"] == linear.shape for linear in planned)
    plan = plan_of(model)
    for block in range(2):
        feed_forward = {x.factor for x in plan.linears if x.kernel and x.block == block}
        assert len(feed_forward) <= 2  # one, or what the smaller sides and the budget leave of it


def test_a_plan_file_names_the_kernel_of_convolutions_alone() -> None:
    plan = plan_of(sana())
    written = [linear.model_dump(mode="json") for linear in plan.linears]
    convolutions = [row for row in written if "kernel" in row]
    assert [row["kernel"] for row in convolutions] == [[1, 1], [3, 3], [1, 1]] * 2
    assert [row["groups"] for row in convolutions] == [1, 80, 1] * 2
    linears = [row for row in written if row not in convolutions]
    assert len(linears) == 16
    assert all(list(row)[-1] == "added" for row in linears)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize("budget", ["uniform:2", "1500", "80KB"])
def test_budgets_count_convolutions(budget: str, tmp_path: Path) -> None:
    model = sana()
    plan = plan_of(model, budget=budget)
    made = read_back(model, config_of(plan)).made_parameters
    assert made == plan.parameters
    if budget == "80KB":
        network = weighted_network(model, plan)
        tensors = {name: each.to(torch.bfloat16) for name, each in network.state_dict().items()}
        save_file(tensors, tmp_path / "lokr.safetensors")
        assert (tmp_path / "lokr.safetensors").stat().st_size <= 80_000


def test_lycoris_and_peft_make_exactly_the_plan() -> None:
    for settings in ({}, {"dora_wd": True}, {"dora_wd": True, "wd_on_output": False}):
        template = LycorisConfig.model_validate({"algo": "lokr", **settings})
        plan = plan_of(sana(), added=added_by(template))
        said = FORMATS["lycoris"].prepare(plan, sana(), template).read_back
        assert said is not None
        assert f"all 22 modules as planned ({plan.parameters:,} trainable" in said
    plan = plan_of(sana())
    said = FORMATS["peft"].prepare(plan, sana(), None).read_back
    assert said is not None
    assert f"all 22 modules as planned ({plan.parameters:,} trainable" in said


def weighted_network(model: nn.Module, plan: Plan) -> Any:
    """The plan's LyCORIS network, applied as SimpleTuner does."""
    config = config_of(plan).written()
    LycorisNetwork.apply_preset(config.pop("apply_preset"))
    order = ("multiplier", "linear_dim", "linear_alpha")
    network = create_lycoris(model, *(config.pop(key) for key in order), **config)
    network.apply_to()
    return network


def test_trained_files_go_from_peft_to_lycoris_and_back(tmp_path: Path) -> None:
    """The three libraries compute the same with them."""
    plan = plan_of(sana())
    trained: Any = drawn(weighted.get_peft_model(sana(), plan))
    expected, before = output(trained), output(sana())
    assert (expected - before).abs().max() > 1e-3
    weighted.save_pretrained(trained, tmp_path / "peft")

    in_diffusers = sana()
    weighted.load_lora_adapter(in_diffusers, tmp_path / "peft")
    torch.testing.assert_close(output(in_diffusers), expected)

    file = tmp_path / "lokr.safetensors"
    assert peft_to_lycoris(tmp_path / "peft", file) == 22
    in_lycoris = sana()
    network, _ = create_lycoris_from_weights(1.0, str(file), in_lycoris)
    network.apply_to()
    torch.testing.assert_close(output(in_lycoris), expected)

    lycoris_to_peft(file, sana(), tmp_path / "back")
    again = weighted.load(sana(), tmp_path / "back")
    torch.testing.assert_close(output(again), expected)
    torch.testing.assert_close(output(weighted.merge(again)), expected)


def test_a_factored_convolution_is_converted_as_well(tmp_path: Path) -> None:
    model = sana()
    entry = {"algo": "lokr", "factor": 2, "dim": 2, "alpha": 1}
    LycorisNetwork.apply_preset(
        {"name_algo_map": {"transformer_blocks.*": entry}, "target_module": [], "use_fnmatch": True}
    )
    network: Any = create_lycoris(model, 1.0, 2, 1, algo="lokr")
    network.apply_to()
    drawn(network)
    expected = output(model)
    tensors = {name: each.contiguous() for name, each in network.state_dict().items()}
    assert any(name.endswith("conv_depth.lokr_w2_b") for name in tensors)
    save_file(tensors, tmp_path / "lokr.safetensors")
    lycoris_to_peft(tmp_path / "lokr.safetensors", sana(), tmp_path / "peft")
    again = weighted.load(sana(), tmp_path / "peft")
    torch.testing.assert_close(output(again), expected)


def test_a_file_with_another_kernel_is_refused(tmp_path: Path) -> None:
    name = "lycoris_transformer_blocks_0_ff_conv_depth"
    tensors = {f"{name}.lokr_w1": torch.ones(1, 1), f"{name}.lokr_w2": torch.ones(80, 1, 5, 5)}
    save_file(tensors, tmp_path / "lokr.safetensors")
    with pytest.raises(LokrWeightingError, match=r"conv_depth is \(80, 1, 5, 5\) in the file"):
        lycoris_to_peft(tmp_path / "lokr.safetensors", sana(), tmp_path / "peft")


def test_lora_leaves_out_grouped_convolutions_and_says_so() -> None:
    plan = plan_of(sana())
    prepared = FORMATS["lora"].prepare(plan, sana(), None)
    left = sum(linear.parameters for linear in plan.linears if linear.groups > 1)
    assert prepared.left_out is not None
    assert "2 grouped convolutions (transformer_blocks.0.ff.conv_depth, ...)" in prepared.left_out
    assert f"{left:,} parameters of the plan" in prepared.left_out
    assert prepared.read_back is not None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"apply_preset": {"enable_conv": False}}, "enable_conv leaves out 2 convolutions"),
        ({"bypass_mode": True}, "bypass_mode runs a grouped convolution as if it had no groups"),
    ],
)
def test_a_template_that_lycoris_could_not_follow_is_refused(
    settings: dict[str, Any], said: str
) -> None:
    template = LycorisConfig.model_validate({"algo": "lokr", **settings})
    with pytest.raises(LokrWeightingError, match=said):
        config_of(plan_of(sana()), template)


class Convolved(nn.Module):
    """Two blocks with a convolution of any kind."""

    def __init__(self, convolution: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleDict({"conv": convolution(4, 16, 3), "linear": nn.Linear(8, 8)})
            for _ in range(2)
        )


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv3d])
def test_what_peft_cannot_do_is_refused_by_name_and_lycoris_does(
    kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(table, "REGISTERED", [])
    register_family(Family("convolved", ("Convolved",), (BlockList("layers", ("conv*",)),)))
    model = Convolved(kind)
    plan = plan_of(model, budget="uniform:2")
    readback = read_back(model, config_of(plan))
    assert readback.exact
    assert differences_from_plan(plan, readback.made) == []
    refused = rf"layers\.0\.conv: is a {kind.__name__}, and peft"
    with pytest.raises(LokrWeightingError, match=refused) as said:
        FORMATS["peft"].prepare(plan, model, None)
    assert "; only LyCORIS (--target lycoris) adapts it" in str(said.value)
    save_file(weighted_network(model, plan).state_dict(), tmp_path / "lokr.safetensors")
    with pytest.raises(LokrWeightingError, match=refused):
        lycoris_to_peft(tmp_path / "lokr.safetensors", model, tmp_path / "peft")


def test_pefts_conv1d_is_not_lycoriss() -> None:
    """Why it is refused: the whole w2's product is taken over other axes."""
    from peft import LoKrConfig, get_peft_model

    model = nn.ModuleDict({"conv": nn.Conv1d(4, 16, 3)})
    config = LoKrConfig(r=64, alpha=64, decompose_factor=2, target_modules=["conv"])
    layer: Any = drawn(get_peft_model(model, config)).get_submodule("base_model.model.conv")  # pyright: ignore
    w1, w2 = layer.lokr_w1["default"], layer.lokr_w2["default"]
    product = torch.kron(w1[..., None], w2)
    assert not torch.allclose(layer.get_delta_weight("default"), product)


@pytest.mark.parametrize("split", [Split(2, 8, 2, 3), Split(4, 4, 1, 6)])
def test_a_convolutions_gain_is_that_of_its_kernels_columns(split: Split) -> None:
    """(in, kernel) taken as one side, where in_n columns and the kernel's lie together."""
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(16, 6, 3, 3, generator=generator).double() for _ in range(2))
    flat = Split(split.out_l, split.out_k, split.in_m, split.in_n * 9)
    columns = [each.reshape(16, 54).numpy() for each in (one, other)]
    expected = reference_gain(columns[0], columns[1], flat)
    assert gain(one, other, split) == pytest.approx(expected)
