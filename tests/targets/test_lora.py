from pathlib import Path

import numpy as np
import pytest
from peft import LoraConfig, get_peft_model

from lokr_weighting.targets.lora import lora_config, ranks, write_lora_config
from tests.targets.peft.test_adapters import output, plan_for, trained
from tests.tiny_models import model_and_inputs

KINDS = ("sd3", "sd3.5-medium", "flux", "auraflow")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", [None, "uniform:2", "uniform:8"])
def test_lora_spends_the_plans_parameters_where_the_plan_does(
    kind: str, budget: str | None
) -> None:
    model, _ = model_and_inputs(kind)
    plan = plan_for(model, budget)
    found = ranks(plan)
    wrapped = get_peft_model(model, lora_config(plan))  # pyright: ignore[reportArgumentType]
    made = {
        name.removeprefix("base_model.model.").split(".lora_A")[0]: each.shape[0]
        for name, each in wrapped.named_parameters()
        if "lora_A" in name
    }
    assert made == found
    count = sum(each.numel() for each in wrapped.parameters() if each.requires_grad)
    assert 0.95 * plan.parameters < count <= plan.parameters
    assert min(found.values()) >= 1
    spent = {linear: found[linear.name] for linear in plan.linears}
    share = [rank * (each.in_features + each.out_features) for each, rank in spent.items()]
    assert np.corrcoef(share, [each.parameters for each in spent])[0, 1] > 0.99


def test_every_scale_is_one_and_it_trains() -> None:
    model, inputs = model_and_inputs("sd3")
    wrapped = get_peft_model(model, lora_config(plan_for(model)))  # pyright: ignore
    scales = {
        scale
        for module in wrapped.modules()
        if hasattr(module, "lora_A")
        for scale in module.scaling.values()  # pyright: ignore
    }
    assert scales == {1.0}
    losses = trained(wrapped, inputs)
    assert losses[-1] < losses[0]
    assert output(wrapped, inputs).isfinite().all()


def test_the_file_is_one_stock_configuration(tmp_path: Path) -> None:
    model, _ = model_and_inputs("sd3")
    plan = plan_for(model)
    write_lora_config(plan, tmp_path / "adapter", "a/model")
    read = LoraConfig.from_pretrained(str(tmp_path / "adapter"))
    assert isinstance(read, LoraConfig)
    wrapped = get_peft_model(model, read)  # pyright: ignore[reportArgumentType]
    count = sum(each.numel() for each in wrapped.parameters() if each.requires_grad)
    assert 0.95 * plan.parameters < count <= plan.parameters
