"""The shipped module trees are those of the real classes, and stand in for them."""

import subprocess
import sys
from importlib import resources

import pytest
import torch
from torch import nn

from lokr_weighting import load_reference, make_plan
from lokr_weighting.models.blocks import block_linears, block_names
from lokr_weighting.models.known import SHIPPED, empty_transformer, load_skeleton
from lokr_weighting.models.skeleton import ARGUMENTS, dump_skeleton, parse_skeleton, skeleton_of
from lokr_weighting.models.table import checkpoints
from lokr_weighting.targets.lycoris import LycorisConfig, config_of
from lokr_weighting.targets.lycoris.readback import read_back
from tests.known_models import known_transformer

NAMES = (*SHIPPED, *checkpoints())


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_tree_is_the_real_classs_today(name: str) -> None:
    file = resources.files("lokr_weighting.models") / "skeletons" / f"{name}.json"
    real = skeleton_of(known_transformer(name))
    assert file.read_text(encoding="utf-8") == dump_skeleton(real)
    assert load_skeleton(name) == real


@pytest.mark.parametrize("name", NAMES)
def test_modules_made_from_it_have_the_real_names_classes_and_sizes(name: str) -> None:
    real, made = (
        dict(model.named_modules())
        for model in (known_transformer(name), load_skeleton(name).to_module())
    )
    assert list(made) == list(real)
    for path, module in real.items():
        own = made[path]
        assert type(own).__name__ == type(module).__name__
        shapes = [
            {key: tuple(value.shape) for key, value in each.named_parameters(recurse=False)}
            for each in (own, module)
        ]
        assert shapes[0] == shapes[1], path
        assert all(value.is_meta for value in own.parameters(recurse=False))
        for base in ARGUMENTS:
            is_one = isinstance(module, getattr(nn, base))
            assert isinstance(own, getattr(nn, base)) == is_one
            if is_one:
                assert own.extra_repr().split(", eps")[0] == module.extra_repr().split(", eps")[0]


@pytest.mark.parametrize("name", ["sd3.5-medium", "flux.1-dev", "auraflow-v0.3"])
@pytest.mark.parametrize(
    "config",
    [
        {
            "algo": "lokr",
            "factor": 4,
            "apply_preset": {"target_module": ["Attention", "FluxAttention"]},
        },
        {"algo": "lora", "linear_dim": 4, "conv_dim": 4, "apply_preset": None},
        {"algo": "lokr", "factor": 8, "train_norm": True, "dora_wd": True, "apply_preset": None},
    ],
)
def test_lycoris_makes_the_same_of_it_as_of_the_real_model(
    name: str, config: dict[str, object]
) -> None:
    config = {key: value for key, value in config.items() if value is not None}
    parsed = LycorisConfig.model_validate(config)
    made = read_back(load_skeleton(name).to_module(), parsed)
    assert made == read_back(empty_transformer(name), parsed)
    assert made.made_parameters > 0


def test_a_plan_and_its_read_back_are_those_of_the_real_model() -> None:
    heatmaps, real = load_reference("sd3.5-large"), empty_transformer("sd3.5-large")
    plan = make_plan(heatmaps, load_skeleton("sd3.5-large"), name="m")
    assert plan == make_plan(heatmaps, real, name="m")
    config = config_of(plan)
    assert read_back(load_skeleton("sd3.5-large").to_module(), config) == read_back(real, config)


def test_planning_a_known_model_needs_no_torch() -> None:
    script = (
        "import sys\n"
        "from lokr_weighting import load_reference, make_plan\n"
        "make_plan(load_reference('sd3.5-large'), 'sd3.5-large', budget='120M')\n"
        "assert not {'torch', 'diffusers', 'lycoris', 'peft'} & set(sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


class Tied(nn.Module):
    """A module in two places, a parameter of its own, a Linear of another class."""

    def __init__(self) -> None:
        super().__init__()

        class OwnLinear(nn.Linear):
            pass

        self.first = nn.Sequential(OwnLinear(4, 6, bias=False), nn.Conv2d(3, 5, 2, groups=1))
        self.again = self.first
        self.norm = nn.LayerNorm(6, bias=False)
        self.scale = nn.Parameter(torch.ones(2, 3))


def test_what_it_keeps_of_a_model_survives_writing() -> None:
    skeleton = skeleton_of(Tied())
    assert parse_skeleton(dump_skeleton(skeleton)) == skeleton
    assert list(skeleton.children) == ["first", "norm"]
    assert skeleton.parameters == {"scale": (2, 3)}
    made = dict(skeleton.to_module().named_modules())
    linear = made["first.0"]
    assert isinstance(linear, nn.Linear)
    assert type(linear).__name__ == "OwnLinear"
    assert (linear.in_features, linear.out_features, linear.bias) == (4, 6, None)
    assert isinstance(made["first.1"], nn.Conv2d)
    assert made["first.1"].kernel_size == (2, 2)


def test_names_and_linears_are_read_alike_from_a_model_and_its_skeleton() -> None:
    model = empty_transformer("flux.1-dev")
    skeleton = skeleton_of(model)
    assert block_names(model) == block_names(skeleton)
    assert block_linears(model) == block_linears(skeleton)
