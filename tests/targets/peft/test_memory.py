import copy
from typing import Any

import pytest
import torch
from peft import LoKrConfig, get_peft_model
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lokr_weighting.targets import peft as weighted
from lokr_weighting.targets.peft.memory import LeanLinear
from tests.targets.peft.test_adapters import output, plan_for
from tests.tiny_models import model_and_inputs

WIDTH = 96


def adapted(lean: bool, **options: Any) -> Any:
    """A small stack of Linears with a stock LoKr of random tensors; the same for both."""
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))
    settings = {"r": 1000, "alpha": 700, "decompose_factor": 4, "target_modules": ["0", "2"]}
    model: Any = get_peft_model(base, LoKrConfig(**settings | options))  # pyright: ignore
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lokr" in name:
                parameter.normal_(std=0.2)
    if lean:
        assert weighted.save_memory(model) == 2
        assert weighted.save_memory(model) == 0
    return model


def gradients(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    loss = model(x).square().mean()
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    found = torch.autograd.grad(loss, [*parameters.values(), x])
    return dict(zip([*parameters, "x"], found, strict=True))


def apart(a: Tensor, b: Tensor) -> float:
    a, b = a.detach().double(), b.detach().double()
    return float((a - b).norm() / b.norm())


OPTIONS = {
    "full": {},
    "low rank": {"r": 5, "alpha": 3},
    "both low rank": {"r": 1, "decompose_both": True},
    "square": {"decompose_factor": -1},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("shape", [(7,), (2, 5), (2, 3, 4)])
def test_outputs_and_gradients_are_the_same(
    options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    stock, lean = adapted(False, **options), adapted(True, **options)
    x = torch.randn(*shape, WIDTH, requires_grad=True)
    assert apart(lean(x), stock(x)) < 1e-5
    expected = gradients(stock, x)
    for name, gradient in gradients(lean, x).items():
        assert apart(gradient, expected[name]) < 1e-5, name


def test_whole_transformers_are_the_same() -> None:
    for kind in ("sd3", "flux"):
        model, inputs = model_and_inputs(kind)
        wrapped = weighted.get_peft_model(model, plan_for(model))
        with torch.no_grad():
            for parameter in wrapped.parameters():
                if parameter.requires_grad:
                    parameter.normal_(std=0.1)
        expected = output(wrapped, inputs)
        assert weighted.save_memory(wrapped) == len(plan_for(model_and_inputs(kind)[0]).linears)
        assert apart(output(wrapped, inputs), expected) < 1e-5


def test_under_autocast_and_in_bfloat16_it_is_as_near_as_stock_is() -> None:
    x = torch.randn(16, WIDTH)
    exact = adapted(False).double()(x.double())
    stock, lean = adapted(False), adapted(True)
    with torch.autocast("cpu", torch.bfloat16):
        assert lean(x).dtype == stock(x).dtype
        assert apart(lean(x), exact) < 2 * apart(stock(x), exact) < 0.02
    stock, lean, x = stock.bfloat16(), lean.bfloat16(), x.bfloat16()
    assert lean(x).dtype == torch.bfloat16
    assert apart(lean(x), exact) < 2 * apart(stock(x), exact) < 0.02


def test_gradient_checkpointing_works() -> None:
    model = adapted(True)
    x = torch.randn(8, WIDTH, requires_grad=True)
    expected = gradients(model, x)

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Any:
            return checkpoint(self.inner, x, use_reentrant=False)

    for name, gradient in gradients(Checkpointed(), x).items():
        assert torch.equal(gradient, expected[name.removeprefix("inner.")])


def test_merging_copying_and_disabling_stay_stock() -> None:
    model = adapted(True)
    x = torch.randn(8, WIDTH)
    expected = model(x)
    assert torch.equal(copy.deepcopy(model)(x), expected)
    model.merge_adapter()
    assert apart(model(x), expected) < 1e-5
    model.unmerge_adapter()
    assert apart(model(x), expected) < 1e-5
    with model.disable_adapter():
        assert apart(model(x), expected) > 0.01
    assert apart(model.merge_and_unload()(x), expected) < 1e-5


def test_files_do_not_change() -> None:
    stock, lean = adapted(False), adapted(True)
    assert stock.state_dict().keys() == lean.state_dict().keys()
    assert isinstance(lean.base_model.model[0], LeanLinear)


def test_rank_dropout_falls_back_to_stock() -> None:
    stock, lean = adapted(False, rank_dropout=0.5), adapted(True, rank_dropout=0.5)
    x = torch.randn(8, WIDTH)
    torch.manual_seed(1)
    expected = stock.train()(x)
    torch.manual_seed(1)
    assert torch.equal(lean.train()(x), expected)


def test_no_weight_sized_tensor_is_kept_for_backward() -> None:
    def largest(model: Any) -> int:
        own = {parameter.data_ptr() for parameter in model.parameters()}
        sizes = []

        def pack(tensor: Tensor) -> Tensor:
            if tensor.data_ptr() not in own:
                sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(torch.randn(2, WIDTH))
        return max(sizes)

    assert largest(adapted(False)) == 2 * WIDTH * WIDTH
    assert largest(adapted(True)) < 2 * WIDTH * WIDTH / 10
