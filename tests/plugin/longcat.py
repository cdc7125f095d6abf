"""The plugin's mask of a LongCat-Image caption, and what it must be by hand."""

from types import SimpleNamespace
from typing import Any

import torch
from lokr_weighting_simpletuner.text import text_mask
from simpletuner.helpers.models.longcat_image.pipeline import LongCatImagePipeline

from lokr_weighting.models.table import family_files
from tests.plugin import pipelines

FILLED = 512  # tokens that a caption is filled up to
CAPTION = 'a sign that says "seven"'


def longcat() -> dict[str, Any]:
    """Which tokens count, and which should: each byte of a caption is a token here."""
    made = pipelines.longcat_image()
    parts = made.text_encoder, made.tokenizer, made.text_processor, made.transformer
    own: Any = LongCatImagePipeline(made.scheduler, made.vae, *parts)  # pyright: ignore
    embeddings, _ = own.encode_prompt([CAPTION], torch.device("cpu"), torch.float64)
    model = SimpleNamespace(tokenizers=[made.tokenizer])
    trainer: Any = SimpleNamespace(
        config=SimpleNamespace(model_family="longcat_image"), model=model
    )
    family = next(file.rows[0] for file in family_files() if file.name == "longcat_image")
    prepared = {"encoder_hidden_states": embeddings, "prompts": [CAPTION]}
    mask = text_mask(trainer, prepared, family)
    assert mask is not None
    in_front, behind = (
        len(made.tokenizer(text, add_special_tokens=False).input_ids)
        for text in (own.prompt_template_encode_prefix, own.prompt_template_encode_suffix)
    )
    expected = [True] * (in_front - own.prompt_template_encode_start_idx + len(CAPTION))
    expected += [False] * (FILLED - len(CAPTION))
    expected += [True] * (behind - own.prompt_template_encode_end_idx)
    return {"mask": mask[0].tolist(), "expected": expected, "tokens": embeddings.shape[1]}
