from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lokr_weighting import LokrWeightingError, Probe
from lokr_weighting.measure.compared_tokens import COMPARED, ComparedTokens
from tests.tiny_models import model_and_inputs, run_with_hook

KINDS = ("sd3", "sd3.5-medium", "flux", "auraflow")
REGISTERS = 8  # tokens that AuraFlow puts in front of the text


def states_by_hand(
    model: nn.Module, inputs: dict[str, Any], front: int
) -> list[tuple[Tensor, Tensor | None]]:
    """Image and text behind each block, from plain hooks, in float64."""
    text_tokens = inputs["encoder_hidden_states"].shape[1] + front
    found: list[tuple[Tensor, Tensor | None]] = []

    def hook(_module: nn.Module, _args: Any, _kwargs: Any, output: Any) -> None:
        if isinstance(output, Tensor):  # [text, image] in one
            output = output[:, :text_tokens], output[:, text_tokens:]
        text, image = output
        found.append((image.double(), None if text is None else text.double()))

    run_with_hook(model, inputs, hook)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_pairs_similarity_is_that_of_a_float64_reference(kind: str) -> None:
    model, inputs = model_and_inputs(kind)
    front = REGISTERS if kind == "auraflow" else 0
    mask = torch.zeros(2, inputs["encoder_hidden_states"].shape[1], dtype=torch.bool)
    mask[0, :3], mask[1, :5] = True, True
    states = states_by_hand(model, inputs, front)
    with Probe(model, similarity=True) as probe, torch.no_grad():
        found = probe.measure(lambda: model(**inputs), text_mask=mask)
    assert found.image_pairs is not None
    assert found.text_pairs is not None
    pairs = zip(*np.tril_indices(len(states), -1), strict=True)
    for column, (i, j) in enumerate(pairs):
        for row, real in enumerate((3, 5)):
            (image_a, text_a), (image_b, text_b) = states[i], states[j]
            cosine = nn.functional.cosine_similarity(image_a[row], image_b[row], dim=-1)
            assert found.image_pairs[row, column] == pytest.approx(cosine.mean().item(), abs=1e-5)
            if text_a is None or text_b is None:
                assert np.isnan(found.text_pairs[row, column])
                continue
            cosine = nn.functional.cosine_similarity(text_a[row], text_b[row], dim=-1)
            expected = cosine[: front + real].mean().item()
            assert found.text_pairs[row, column] == pytest.approx(expected, abs=1e-5)


def test_nothing_is_gathered_unless_asked_for() -> None:
    model, inputs = model_and_inputs("sd3")
    with Probe(model) as probe, torch.no_grad():
        model(**inputs)
        found = probe.take()
    assert found.image_pairs is None
    assert found.text_pairs is None


def compared(a: Tensor, b: Tensor, number: int) -> float:
    directions = ComparedTokens()
    directions.keep("a", a[None], None, [number])
    directions.keep("b", b[None], None, [number])
    return directions.take(["a", "b"], 1).item()


def test_few_tokens_stand_for_all_of_them() -> None:
    torch.manual_seed(0)
    tokens = 40 * COMPARED
    a = torch.randn(tokens, 16)
    # the second half of the tokens turns much more
    b = a + torch.linspace(0, 3, tokens)[:, None] * torch.randn(tokens, 16)
    every = nn.functional.cosine_similarity(a, b, dim=-1)
    found = np.array([compared(a, b, number) for number in range(300)])
    error = every.std().item() / np.sqrt(COMPARED * len(found))
    assert abs(found.mean() - every.mean().item()) < 4 * error
    assert found.std() == pytest.approx(every.std().item() / np.sqrt(COMPARED), rel=0.2)


def test_the_samples_number_alone_decides_the_tokens() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(2, 100, 16)
    assert compared(a, b, 7) == compared(a, b, 7)
    assert compared(a, b, 7) != compared(a, b, 8)
    directions = ComparedTokens()
    directions.keep("a", torch.stack([b, a]), None, [3, 7])
    directions.keep("b", torch.stack([a, b]), None, [3, 7])
    assert directions.take(["a", "b"], 2)[1].item() == pytest.approx(compared(a, b, 7), abs=1e-6)


def test_a_kept_block_is_its_few_tokens_and_no_more() -> None:
    directions = ComparedTokens()
    directions.keep("a", torch.randn(1, 4096, 64, dtype=torch.bfloat16), None, [0])
    assert sum(each.nbytes for each in directions._kept.values()) == COMPARED * 64 * 4


def test_blocks_of_other_tokens_are_refused_by_name() -> None:
    directions = ComparedTokens()
    directions.keep("layers.0", torch.randn(1, 64, 8), None, [0])
    with pytest.raises(LokrWeightingError, match=r"layers\.1 hands on \(1, 16, 8\)"):
        directions.keep("layers.1", torch.randn(1, 16, 8), None, [0])
