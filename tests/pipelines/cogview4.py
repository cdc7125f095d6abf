"""CogView 4: captions filled up in front, sizes of images as inputs."""

from typing import Any

from diffusers import CogView4Pipeline, CogView4Transformer2DModel
from transformers import GlmConfig, GlmModel

from tests.pipelines.parts import CHANNELS, HEADS, LAYERS, TEXT_WIDTH, flow, qwen_tokenizer
from tests.tiny_pipelines import autoencoder


def cogview4() -> CogView4Pipeline:
    """Three blocks."""
    tokenizer = qwen_tokenizer()
    tokenizer.padding_side = "left"
    text: dict[str, Any] = {**LAYERS, "vocab_size": 300, "pad_token_id": 256}
    return CogView4Pipeline(
        tokenizer=tokenizer,  # pyright: ignore[reportArgumentType]
        text_encoder=GlmModel(GlmConfig(**text)),
        vae=autoencoder(CHANNELS, scaling_factor=0.9),
        transformer=CogView4Transformer2DModel(
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_layers=3,
            text_embed_dim=TEXT_WIDTH,
            time_embed_dim=32,
            condition_dim=8,
            sample_size=8,
            **HEADS,
        ),
        scheduler=flow(),
    )
