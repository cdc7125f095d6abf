from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from lokr_weighting import Probe
from lokr_weighting.data.encoding import Encoder
from lokr_weighting.data.samples import draw
from lokr_weighting.measure.forward import PipelineForward
from tests.tiny_models import run_with_hook

CAPTION = "a seven"
CLIP = 77  # tokens of Stable Diffusion 3's first part


def angles(before: torch.Tensor, after: torch.Tensor) -> np.ndarray:
    """Token distances in float64, (tokens,)."""
    a, b = before[0].double().numpy(), after[0].double().numpy()
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return np.arccos(cosine) / np.pi


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_the_texts_mean_is_of_real_tokens_and_its_last_token_the_last_of_all(
    kind: str, pipelines: Callable[[str], Path]
) -> None:
    pipeline = DiffusionPipeline.from_pretrained(pipelines(kind))
    encoder = Encoder(pipeline, torch.device("cpu"))
    encoder.encode_image("image", torch.rand(3, 32, 32) * 2 - 1)
    encoder.encode_caption(CAPTION)
    t5 = len((pipeline.tokenizer_3 if kind == "sd3" else pipeline.tokenizer_2)(CAPTION).input_ids)
    real = np.arange(t5)
    if kind == "sd3":
        real = np.concatenate([np.arange(len(pipeline.tokenizer(CAPTION).input_ids)), CLIP + real])
    seen: list[np.ndarray] = []

    def hook(_module: Any, _args: Any, kwargs: Any, output: Any) -> None:
        if output[0] is not None:
            seen.append(angles(kwargs["encoder_hidden_states"], output[0]))

    forward = PipelineForward(encoder)
    sample = draw(0, 0, 10, [1])
    with Probe(pipeline.transformer) as probe:
        found = forward.distances(probe, sample, "image", CAPTION)
    inputs: dict[str, Any] = {}
    capture = pipeline.transformer.register_forward_pre_hook(
        lambda _, __, kwargs: inputs.update(kwargs), with_kwargs=True
    )
    forward.loss(sample, "image", CAPTION)
    capture.remove()
    run_with_hook(pipeline.transformer, inputs, hook)
    for block, expected in enumerate(seen):
        assert found.text[0, block] == pytest.approx(expected[real].mean(), abs=1e-5)
        assert found.text_last[0, block] == pytest.approx(expected[-1], abs=1e-5)
        assert found.text_last_real[0, block] == pytest.approx(expected[real[-1]], abs=1e-5)
        # padding is most of the tokens, and it is elsewhere
        assert abs(expected.mean() - expected[real].mean()) > 1e-4
