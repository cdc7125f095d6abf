"""Every strategy against a model whose list of blocks is put together by hand."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lokr_weighting import LokrWeightingError
from lokr_weighting.studies.strategies import Strategy, executed
from tests.targets.peft.test_adapters import output
from tests.tiny_models import model_and_inputs

LISTS = {
    "sd3": ("transformer_blocks",),
    "sd3.5-medium": ("transformer_blocks",),
    "flux": ("transformer_blocks", "single_transformer_blocks"),
    "auraflow": ("joint_transformer_blocks", "single_transformer_blocks"),
}
CASES = [(kind, path) for kind, paths in LISTS.items() for path in paths]


def by_hand(
    model: nn.Module,
    path: str,
    blocks: Sequence[nn.Module],
    inputs: dict[str, Any],
    output: Callable[[nn.Module, dict[str, Any]], Tensor] = output,
) -> Tensor:
    """The output of a model with these blocks in its list."""
    own = copy.copy(model)
    own._modules = {**model._modules, path: nn.ModuleList(blocks)}
    return output(own, inputs)


def middle(blocks: Sequence[nn.Module]) -> tuple[int, int]:
    """A span of at least two that leaves the last block out: SD3's hands no text on."""
    return 0, max(1, len(blocks) - 2)


@pytest.mark.parametrize(("kind", "path"), CASES)
def test_skipping_a_block_is_a_model_without_it(kind: str, path: str) -> None:
    model, inputs = model_and_inputs(kind)
    blocks = list(model.get_submodule(path).children())
    for index in range(len(blocks)):
        expected = by_hand(model, path, [*blocks[:index], *blocks[index + 1 :]], inputs)
        with executed(model, Strategy("skip", path, index, index)):
            assert torch.equal(output(model, inputs), expected)


@pytest.mark.parametrize(("kind", "path"), CASES)
def test_a_range_is_skipped_repeated_reversed_and_replaced(kind: str, path: str) -> None:
    model, inputs = model_and_inputs(kind)
    plain = output(model, inputs)
    blocks = list(model.get_submodule(path).children())
    first, last = middle(blocks) if len(blocks) > 2 else (0, 1)
    chosen, before, after = blocks[first : last + 1], blocks[:first], blocks[last + 1 :]
    cases = {
        Strategy("skip", path, first, last): [],
        Strategy("repeat", path, first, last): [chosen[len(chosen) // 2]] * len(chosen),
        Strategy("reverse", path, first, last): chosen[::-1],
        Strategy("replace", path, first, last, by=first): [chosen[0]] * len(chosen),
    }
    for strategy, instead in cases.items():
        expected = by_hand(model, path, [*before, *instead, *after], inputs)
        with executed(model, strategy):
            assert torch.equal(output(model, inputs), expected), strategy.label
        assert not torch.equal(expected, plain)


class Fixed(nn.Module):
    """Gives what it was made with, whatever goes in."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def forward(self, *_: Any, **__: Any) -> Any:
        return self.value


@pytest.mark.parametrize(("kind", "path"), CASES)
def test_in_parallel_the_blocks_see_one_input_and_are_averaged(kind: str, path: str) -> None:
    model, inputs = model_and_inputs(kind)
    blocks = list(model.get_submodule(path).children())
    first, last = middle(blocks) if len(blocks) > 2 else (0, 1)
    chosen = blocks[first : last + 1]
    seen: list[dict[str, Any]] = []

    def hook(_module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        seen.append(kwargs)

    handle = blocks[first].register_forward_pre_hook(hook, with_kwargs=True)
    output(model, inputs)
    handle.remove()
    with torch.no_grad():
        outputs = [block(**seen[0]) for block in chosen]
    if isinstance(outputs[0], Tensor):
        value: Any = sum(outputs) / len(outputs)
    else:
        value = tuple(sum(part) / len(part) for part in zip(*outputs, strict=True))
    expected = by_hand(model, path, [*blocks[:first], Fixed(value), *blocks[last + 1 :]], inputs)
    with executed(model, Strategy("parallel", path, first, last)):
        assert torch.allclose(output(model, inputs), expected, atol=1e-5)


@pytest.mark.parametrize("kind", LISTS)
def test_the_model_is_bit_identical_afterwards_even_after_an_error(kind: str) -> None:
    model, inputs = model_and_inputs(kind)
    plain, state = output(model, inputs), copy.deepcopy(model.state_dict())
    for path in LISTS[kind]:
        for strategy in (Strategy("skip", path, 0, 1), Strategy("parallel", path, 0, 1)):
            with pytest.raises(ZeroDivisionError), executed(model, strategy):
                output(model, inputs)
                raise ZeroDivisionError
    assert torch.equal(output(model, inputs), plain)
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_blocks_that_are_not_there_are_refused() -> None:
    model, _ = model_and_inputs("sd3")
    for strategy, message in {
        Strategy("skip", "single_transformer_blocks", 0, 0): "only transformer_blocks",
        Strategy("skip", "transformer_blocks", 2, 6): "has blocks 0 to 5",
        Strategy("skip", "transformer_blocks", 3, 2): "has blocks 0 to 5",
        Strategy("replace", "transformer_blocks", 1, 2, by=9): "has blocks 0 to 5",
        Strategy("replace", "transformer_blocks", 1, 2): r"say which block replaces them \(by\)",
    }.items():
        with pytest.raises(LokrWeightingError, match=message), executed(model, strategy):
            pass
