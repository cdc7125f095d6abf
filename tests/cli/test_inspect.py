from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from lokr_weighting.plan.file_size import lycoris_key
from lokr_weighting.plan.plan import write_plan
from tests.attacks import good
from tests.conftest import Run

Cli = Callable[..., Run]


def test_inspect_shows_the_cost_per_block_and_in_all(cli: Cli) -> None:
    cli("plan", "--reference", "sd3.5-large")
    data = cli("inspect", "peft_config.json", "--model", "sd3.5-large", "--json").json
    assert data["parameters"] == sum(row["parameters"] for row in data["blocks"]) == 765636738
    assert data["blocks"][0]["parameters"] == 177438758
    shown = cli("inspect", "peft_config.json", "--model", "sd3.5-large")
    assert "transformer_blocks.37" in shown.out
    assert "765,636,738 trainable parameters" in shown.out


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A LoKr of every Linear of the digits model, and the plan that it is."""
    plan = good.plan()
    write_plan(tmp_path / "digits.plan.json", plan)
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"{lycoris_key(linear.name)}.{kind}": torch.randn(shape, generator=generator)
        for linear in plan.linears
        for kind, shape in zip(("lokr_w1", "lokr_w2"), linear.shapes, strict=True)
    }
    save_file(tensors, tmp_path / "lokr.safetensors")
    return tmp_path / "lokr.safetensors"


def test_a_trained_adapter_is_shown_beside_its_plan_and_drawn(
    cli: Cli, adapter: Path, tmp_path: Path
) -> None:
    arguments = ("inspect", adapter.name, "--model", "digits", "--plan", "digits.plan.json")
    run = cli(*arguments, "-o", "did.png")
    assert run.code == 0, run.err
    assert "What lokr.safetensors changes" in run.out
    assert "transformer_blocks.11   text" in run.out
    assert "The adapter is the plan's" in run.out
    assert "Only the change itself" not in run.out
    with Image.open(tmp_path / "did.png") as image:
        assert image.width > 800
    again = cli(*arguments, "-o", "did.png")
    assert again.code == 2
    assert "did.png: exists; --force replaces it" in again.err
    assert cli(*arguments, "-o", "did.png", "--force").code == 0
    over = cli(*arguments, "--force", "-o", adapter.name)
    assert over.code == 2
    assert "is read by this command" in over.err


def test_a_trained_adapters_numbers_are_json(cli: Cli, adapter: Path) -> None:
    data = cli("inspect", adapter.name, "--model", "digits", "--json").json
    assert data["parameters"] == good.plan().parameters
    assert len(data["linears"]) == data["modules"] == len(good.plan().linears)
    assert data["plan"] is None
    first = data["linears"][0]
    assert first["relative_change"] == first["norm"] / first["weight_norm"]
    assert [part["name"] for part in first["parts"]] == ["w1", "w2"]
    assert {(use["stream"], use["measure"]) for use in data["uses"]} == {
        (stream, measure) for stream in ("image", "text") for measure in ("change", "used")
    }


def test_a_known_name_has_no_weights_and_that_is_said(cli: Cli, tmp_path: Path) -> None:
    tensors = {"lora_A.weight": torch.ones(2, 2432), "lora_B.weight": torch.ones(2432, 2)}
    name = "transformer.transformer_blocks.3.attn.to_q"
    save_file(
        {f"{name}.{kind}": each for kind, each in tensors.items()}, tmp_path / "a.safetensors"
    )
    run = cli("inspect", "a.safetensors", "--model", "sd3.5-large")
    assert run.code == 0, run.err
    assert "Only the change itself is given: the weights of sd3.5-large are not at hand" in run.out
    assert "4.86e+03" in run.out
    data = cli("inspect", "a.safetensors", "--model", "sd3.5-large", "--json").json
    (linear,) = data["linears"]
    assert linear["norm"] == pytest.approx(2 * 2432)
    assert linear["relative_change"] is None


def test_what_is_for_the_other_is_refused(cli: Cli, adapter: Path, tmp_path: Path) -> None:
    config = tmp_path / "peft_config.json"
    config.write_text("{}")
    for arguments, said in (
        ((adapter.name, "--trainer", "diffusers"), "--trainer is for a configuration"),
        ((config.name, "--plan", "digits.plan.json"), "are for a trained adapter"),
        ((config.name, "-o", "a.png"), "peft_config.json is a configuration"),
        ((adapter.name, "--plan", config.name), "peft_config.json: "),
        (("none.safetensors",), "none.safetensors: there is no such file or folder"),
        (("old.ckpt",), "old.ckpt: there is no such file or folder"),
        ((".",), "; give a file of it: lokr.safetensors"),
    ):
        run = cli("inspect", *arguments, "--model", "digits")
        assert run.code == 2
        assert said in run.err
        assert len(run.err.strip().splitlines()) == 1
