"""Every strategy on models that pass their blocks' arguments by place, against lists by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lokr_weighting import LokrWeightingError
from lokr_weighting.models.family import Streams
from lokr_weighting.studies.stand_ins import Identity
from lokr_weighting.studies.strategies import Strategy, executed
from tests.studies.called_by_place import CASES
from tests.studies.test_strategies import Fixed, by_hand

Model = tuple[nn.Module, dict[str, Any]]


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    return {name: case.model_and_inputs() for name, case in CASES.items()}


def output(model: nn.Module, inputs: dict[str, Any]) -> Tensor:
    """What the model makes of the inputs, a list of samples in one row."""
    with torch.no_grad():
        made = model(**inputs, return_dict=False)[0]
    return torch.cat([each.flatten() for each in made]) if isinstance(made, list) else made


LISTS = [(name, path) for name, case in CASES.items() for path in case.lists]


@pytest.mark.parametrize(("name", "path"), LISTS)
def test_blocks_are_left_out_repeated_and_reversed_as_in_a_list_by_hand(
    name: str, path: str, models: dict[str, Model]
) -> None:
    model, inputs = models[name]
    plain = output(model, inputs)
    blocks = list(model.get_submodule(path).children())
    cases = {
        Strategy("skip", path, 0, 0): blocks[1:],
        Strategy("skip", path, 0, 1): blocks[2:],
        Strategy("repeat", path, 0, 1): [blocks[1], blocks[1], *blocks[2:]],
        Strategy("reverse", path, 0, 1): [blocks[1], blocks[0], *blocks[2:]],
    }
    for strategy, instead in cases.items():
        expected = by_hand(model, path, instead, inputs, output)
        with executed(model, strategy):
            assert torch.equal(output(model, inputs), expected), strategy.label
        assert not torch.equal(expected, plain), strategy.label
    assert torch.equal(output(model, inputs), plain)


@pytest.mark.parametrize(("name", "path"), LISTS)
@pytest.mark.parametrize("times", [1, 2])
def test_in_parallel_blocks_that_are_called_by_place_are_averaged_and_looped(
    name: str, path: str, times: int, models: dict[str, Model]
) -> None:
    model, inputs = models[name]
    blocks = list(model.get_submodule(path).children())
    seen: list[tuple[Any, ...]] = []
    handle = blocks[0].register_forward_pre_hook(
        lambda _module, args, kwargs: seen.append((args, kwargs)), with_kwargs=True
    )
    output(model, inputs)
    handle.remove()
    args, kwargs = seen[0]
    value: Any = None
    for _ in range(times):
        with torch.no_grad():
            made = [block(*args, **kwargs) for block in blocks[:2]]
        if isinstance(made[0], Tensor):
            value = sum(made) / 2
            args = (value, *args[1:])
        else:  # the streams come first among the arguments, in the order of the output
            value = tuple(sum(part) / 2 for part in zip(*made, strict=True))
            args = (*value, *args[len(value) :])
    expected = by_hand(model, path, [Fixed(value), *blocks[2:]], inputs, output)
    strategy = Strategy("looped" if times > 1 else "parallel", path, 0, 1, times=times)
    with executed(model, strategy):
        assert torch.allclose(output(model, inputs), expected, atol=1e-5)


def test_a_row_that_names_no_argument_of_the_block_is_refused_by_name(
    models: dict[str, Model],
) -> None:
    model, _ = models["z_image"]
    block = next(model.get_submodule("layers").children())
    wrong = Identity(block, Streams("hidden_states", None, None, None))
    with pytest.raises(LokrWeightingError, match=r"ZImageTransformerBlock .*'hidden_states'"):
        wrong(torch.zeros(1, 2, 16), None)
