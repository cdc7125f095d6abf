"""Qwen-Image: a video VAE, packed latents, captions of their own lengths behind a template."""

from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel

from tests.pipelines.parts import (
    AXES,
    CHANNELS,
    HEADS,
    TEXT_WIDTH,
    VIDEO_VAE,
    flow,
    qwen25_vl,
    qwen_tokenizer,
)


def qwen_image() -> QwenImagePipeline:
    """Three blocks."""
    return QwenImagePipeline(
        scheduler=flow(),
        vae=AutoencoderKLQwenImage(**VIDEO_VAE),
        text_encoder=qwen25_vl(),
        tokenizer=qwen_tokenizer(),
        transformer=QwenImageTransformer2DModel(
            in_channels=4 * CHANNELS,
            out_channels=CHANNELS,
            num_layers=3,
            joint_attention_dim=TEXT_WIDTH,
            axes_dims_rope=AXES,
            **HEADS,
        ),
    )
