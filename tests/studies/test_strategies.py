"""Every strategy against a model whose list of blocks is put together by hand."""

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lokr_weighting import BlockList, Family, LokrWeightingError, Streams, register_family
from lokr_weighting.models import table
from lokr_weighting.studies.strategies import Kind, Strategy, drawn_order, executed
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
        Strategy("repeat", path, first, last, by=last): [chosen[-1]] * len(chosen),
        Strategy("skip every second", path, first, last): chosen[::2],
    }
    for strategy, instead in cases.items():
        expected = by_hand(model, path, [*before, *instead, *after], inputs)
        with executed(model, strategy):
            assert torch.equal(output(model, inputs), expected), strategy.label
        assert not torch.equal(expected, plain)


@pytest.mark.parametrize(("kind", "path"), CASES)
def test_a_random_order_is_another_order_of_the_same_blocks_one_for_each_seed(
    kind: str, path: str
) -> None:
    model, inputs = model_and_inputs(kind)
    blocks = list(model.get_submodule(path).children())
    first, last = middle(blocks) if len(blocks) > 2 else (0, 1)
    span = range(first, last + 1)
    for seed in range(3):
        order = drawn_order(len(span), seed)
        assert sorted(order) == list(range(len(span))) != order
        instead = [blocks[first + place] for place in order]
        made = by_hand(model, path, [*blocks[:first], *instead, *blocks[last + 1 :]], inputs)
        with executed(model, Strategy("random order", path, first, last, seed=seed)):
            assert torch.equal(output(model, inputs), made)


def test_random_orders_are_drawn_evenly_from_all_but_the_blocks_own() -> None:
    drawn = Counter(tuple(drawn_order(3, seed)) for seed in range(600))
    assert len(drawn) == 5
    assert min(drawn.values()) > 80


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
    call = entering(model, blocks[first], inputs)
    with torch.no_grad():
        outputs = [block(**call) for block in chosen]
    if isinstance(outputs[0], Tensor):
        value: Any = sum(outputs) / len(outputs)
    else:
        value = tuple(sum(part) / len(part) for part in zip(*outputs, strict=True))
    expected = by_hand(model, path, [*blocks[:first], Fixed(value), *blocks[last + 1 :]], inputs)
    with executed(model, Strategy("parallel", path, first, last)):
        assert torch.allclose(output(model, inputs), expected, atol=1e-5)


@pytest.mark.parametrize(("kind", "path"), CASES)
@pytest.mark.parametrize("times", [1, 3])
def test_looped_the_averages_enter_the_same_blocks_again(kind: str, path: str, times: int) -> None:
    model, inputs = model_and_inputs(kind)
    blocks = list(model.get_submodule(path).children())
    first, last = middle(blocks) if len(blocks) > 2 else (0, 1)
    call = entering(model, blocks[first], inputs)
    value: Any = None
    for _ in range(times):
        with torch.no_grad():
            outputs = [block(**call) for block in blocks[first : last + 1]]
        if isinstance(outputs[0], Tensor):
            value = torch.stack(outputs).mean(dim=0)
            call["hidden_states"] = value
        else:
            text, image = (torch.stack(part).mean(dim=0) for part in zip(*outputs, strict=True))
            value = text, image
            call |= {"encoder_hidden_states": text, "hidden_states": image}
    expected = by_hand(model, path, [*blocks[:first], Fixed(value), *blocks[last + 1 :]], inputs)
    with executed(model, Strategy("looped", path, first, last, times=times)):
        assert torch.allclose(output(model, inputs), expected, atol=1e-5)
    if times == 3:
        with executed(model, Strategy("looped", path, first, last)):  # three times is the default
            assert torch.allclose(output(model, inputs), expected, atol=1e-5)


def entering(model: nn.Module, block: nn.Module, inputs: dict[str, Any]) -> dict[str, Any]:
    """What a block is called with."""
    seen: list[dict[str, Any]] = []

    def hook(_module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        seen.append(kwargs)

    handle = block.register_forward_pre_hook(hook, with_kwargs=True)
    output(model, inputs)
    handle.remove()
    return dict(seen[0])


@pytest.mark.parametrize("kind", LISTS)
def test_the_model_is_bit_identical_afterwards_even_after_an_error(kind: str) -> None:
    model, inputs = model_and_inputs(kind)
    plain, state = output(model, inputs), copy.deepcopy(model.state_dict())
    for path in LISTS[kind]:
        kinds: tuple[Kind, ...] = ("skip", "parallel", "looped", "random order")
        for strategy in (Strategy(each, path, 0, 1) for each in kinds):
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
        Strategy("repeat", "transformer_blocks", 1, 2, by=3): "the kind replace runs any block of",
        Strategy("looped", "transformer_blocks", 1, 2, times=0): "times counts from 1",
        Strategy("random order", "transformer_blocks", 1, 1, seed=0): "needs two blocks or more",
        Strategy("skip every second", "transformer_blocks", 1, 1): "needs two blocks or more",
    }.items():
        with pytest.raises(LokrWeightingError, match=message), executed(model, strategy):
            pass


class ByItself(nn.Module):
    """Blocks that are run by what they hold, not called."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = [nn.Linear(4, 4), nn.Linear(4, 4)]
        self.layers = nn.ModuleList(self.kept)

    def forward(self, hidden_states: Tensor) -> Tensor:
        for layer in self.kept:
            hidden_states = layer(hidden_states)
        return hidden_states


def test_a_model_that_does_not_call_its_blocks_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table, "REGISTERED", [])
    streams = Streams("hidden_states", None, None, None)
    register_family(Family("by itself", ("ByItself",), (BlockList("layers", (), streams),)))
    model, inputs = ByItself(), torch.ones(1, 2, 4)
    plain = model(inputs)
    message = r"skip layers\.0-1: ByItself ran without these blocks: it does not call them"
    skipped = executed(model, Strategy("skip", "layers", 0, 1))
    with pytest.raises(LokrWeightingError, match=message), skipped:
        model(inputs)
    assert torch.equal(model(inputs), plain)
