from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline

from lokr_weighting import LokrWeightingError
from lokr_weighting.data.encoding import Encoder

CAPTION = "a seven"
CLIP, T5 = 77, 256
Pipelines = Callable[[str], Path]


def encoder(pipelines: Pipelines, kind: str) -> Encoder:
    return Encoder(DiffusionPipeline.from_pretrained(pipelines(kind)), torch.device("cpu"))


def places(mask: torch.Tensor) -> list[int]:
    return mask[0].nonzero().flatten().tolist()


@pytest.mark.parametrize("caption", [CAPTION, "", "long " * 200])
def test_each_part_of_stable_diffusion_3s_text_is_padded_for_itself(
    caption: str, pipelines: Pipelines
) -> None:
    own = encoder(pipelines, "sd3")
    own.encode_caption(caption)
    clip = min(CLIP, len(own.pipeline.tokenizer(caption).input_ids))
    t5 = min(T5, len(own.pipeline.tokenizer_3(caption).input_ids))
    assert places(own.real[caption]) == [*range(clip), *range(CLIP, CLIP + t5)]
    assert own.real[caption].shape[1] == CLIP + T5


def test_without_its_t5_that_part_is_all_padding(pipelines: Pipelines) -> None:
    pipeline = DiffusionPipeline.from_pretrained(pipelines("sd3"), text_encoder_3=None)
    own = Encoder(pipeline, torch.device("cpu"))
    own.encode_caption(CAPTION)
    embeddings = own.embeddings[CAPTION]["prompt_embeds"]
    assert isinstance(embeddings, torch.Tensor)
    assert not embeddings[0, CLIP:].any()
    assert places(own.real[CAPTION]) == list(range(len(pipeline.tokenizer(CAPTION).input_ids)))
    assert own.real[CAPTION].shape[1] == embeddings.shape[1]


@pytest.mark.parametrize(
    ("kind", "tokenizer"), [("flux", "tokenizer_2"), ("auraflow", "tokenizer")]
)
def test_flux_and_auraflow_have_one_part(kind: str, tokenizer: str, pipelines: Pipelines) -> None:
    own = encoder(pipelines, kind)
    own.encode_caption(CAPTION)
    count = len(getattr(own.pipeline, tokenizer)(CAPTION).input_ids)
    embeddings = own.embeddings[CAPTION]["prompt_embeds"]
    assert isinstance(embeddings, torch.Tensor)
    length = embeddings.shape[1]
    # Llama's tokenizer pads in front
    expected = range(count) if kind == "flux" else range(length - count, length)
    assert places(own.real[CAPTION]) == list(expected)
    assert own.real[CAPTION].shape[1] == length


def test_a_pipeline_whose_text_has_one_length_cannot_be_given_another(
    pipelines: Pipelines,
) -> None:
    own = encoder(pipelines, "sdxl")
    own.text_tokens = 8
    with pytest.raises(LokrWeightingError, match="XLPipeline does not say how long its text is"):
        own.encode_caption(CAPTION)
