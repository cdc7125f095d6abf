from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lokr_weighting import LokrWeightingError, Probe
from lokr_weighting.data.encoding import Encoder
from lokr_weighting.data.images import crop_size
from lokr_weighting.data.samples import draw
from lokr_weighting.measure.forward import PipelineForward
from lokr_weighting.measure.sizing import held_to
from lokr_weighting.models.loading import load_pipeline
from lokr_weighting.models.table import pipeline_call
from tests.measure.test_forward import angles

CAPTION = "a seven"
SIDES = range(1024, 2049, 64)


def encoded(folder: Path, width: int, height: int) -> Encoder:
    encoder = Encoder(load_pipeline(folder, torch.float32), torch.device("cpu"))
    encoder.encode_image("image", torch.rand(3, height, width) * 2 - 1)
    encoder.encode_caption(CAPTION)
    return encoder


def test_hidreams_text_counts_the_real_tokens_of_its_t5_and_twice_of_its_llama(
    pipelines: Callable[[str], Path],
) -> None:
    encoder = encoded(pipelines("hidream"), 96, 64)
    pipeline = encoder.pipeline
    text = encoder.embeddings[CAPTION]["prompt_embeds_t5"]
    assert isinstance(text, torch.Tensor)
    padded = text.shape[1]
    t5, llama = (
        np.array(tokenizer(CAPTION, padding="max_length", max_length=padded).attention_mask, bool)
        for tokenizer in (pipeline.tokenizer_3, pipeline.tokenizer_4)
    )
    real = np.concatenate([t5, llama, llama])
    seen: list[np.ndarray] = []
    handles = [
        block.register_forward_hook(
            lambda _, __, kwargs, output: seen.append(
                angles(kwargs["encoder_hidden_states"], output[1])
            ),
            with_kwargs=True,
        )
        for block in pipeline.transformer.double_stream_blocks
    ]
    with Probe(pipeline.transformer) as probe:
        sample = draw(0, 0, 10, [1])
        found = PipelineForward(encoder).distances(probe, sample, "image", CAPTION)
    for handle in handles:
        handle.remove()
    for block, expected in enumerate(seen):
        assert len(expected) == 3 * padded
        assert found.text[0, block] == pytest.approx(expected[real].mean(), abs=1e-5)
        assert abs(expected.mean() - expected[real].mean()) > 1e-3


@pytest.mark.parametrize(
    ("kind", "attribute"), [("hidream", "default_sample_size"), ("kandinsky5", "resolutions")]
)
def test_a_pipeline_is_left_as_it_was(
    kind: str, attribute: str, pipelines: Callable[[str], Path]
) -> None:
    encoder = encoded(pipelines(kind), 96, 64)
    before = getattr(encoder.pipeline, attribute)
    PipelineForward(encoder).loss(draw(0, 0, 10, [1]), "image", CAPTION)
    assert getattr(encoder.pipeline, attribute) == before


def test_an_image_with_more_tokens_than_hidream_fills_up_to_is_refused(
    pipelines: Callable[[str], Path],
) -> None:
    encoder = encoded(pipelines("hidream"), 128, 112)
    with pytest.raises(LokrWeightingError, match="at most 48 tokens, these are 56; lower --reso"):
        PipelineForward(encoder).loss(draw(0, 0, 10, [1]), "image", CAPTION)


def test_sparse_attention_takes_sides_of_whole_blocks_alone(
    pipelines: Callable[[str], Path],
) -> None:
    pipeline = load_pipeline(pipelines("kandinsky5-video"), torch.float32)
    call = pipeline_call("Kandinsky5T2VPipeline")
    with held_to(pipeline, call, 96, 64):
        pass
    pipeline.transformer.register_to_config(attention_type="nabla")
    with held_to(pipeline, call, 256, 128):
        pass
    with (
        pytest.raises(LokrWeightingError, match="must be multiples of 128 for this Kandinsky5"),
        held_to(pipeline, call, 96, 64),
    ):
        pass


def test_a_bucket_within_the_square_has_no_more_pixels_than_it() -> None:
    within = [crop_size(side, 1024, 1024, buckets=True, within=True) for side in SIDES]
    nearest = [crop_size(side, 1024, 1024, buckets=True) for side in SIDES]
    assert all(0.93 * 1024**2 < wide * high <= 1024**2 for wide, high in within)
    assert any(wide * high > 1024**2 for wide, high in nearest)
