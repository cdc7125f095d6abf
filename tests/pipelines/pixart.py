"""PixArt: epsilon prediction by a schedule of noise, the variance learned beside it."""

from typing import Any

from diffusers import (
    DPMSolverMultistepScheduler,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
)

from tests.pipelines.parts import CHANNELS, HEADS
from tests.tiny_pipelines import WIDTH, autoencoder, t5_encoder, t5_tokenizer


def sigma() -> PixArtSigmaPipeline:
    """Three blocks."""
    return PixArtSigmaPipeline(**parts())


def alpha() -> PixArtAlphaPipeline:
    """The same, its captions shorter."""
    return PixArtAlphaPipeline(**parts())


def parts() -> dict[str, Any]:
    tokenizer = t5_tokenizer(max_length=300)
    return {
        "tokenizer": tokenizer,
        "text_encoder": t5_encoder(tokenizer),
        "vae": autoencoder(CHANNELS, scaling_factor=0.13025),
        "transformer": PixArtTransformer2DModel(
            sample_size=8,
            num_layers=3,
            in_channels=CHANNELS,
            out_channels=2 * CHANNELS,
            cross_attention_dim=32,
            caption_channels=WIDTH,
            norm_num_groups=4,
            use_additional_conditions=False,
            **HEADS,
        ),
        "scheduler": DPMSolverMultistepScheduler(beta_schedule="linear", beta_end=0.02),
    }
