"""Qwen-Image: a video VAE, packed latents, captions of their own lengths behind a template."""

from typing import Any

from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from tests.pipelines.parts import (
    AXES,
    CHANNELS,
    HEADS,
    LAYERS,
    TEXT_WIDTH,
    VIDEO_VAE,
    flow,
    qwen_tokenizer,
)


def qwen_image() -> QwenImagePipeline:
    """Three blocks."""
    vision: dict[str, Any] = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": TEXT_WIDTH,
    }
    sections = {"mrope_section": [2, 2, 4], "rope_type": "default", "rope_theta": 1e4}
    text: dict[str, Any] = {**LAYERS, "vocab_size": 300, "rope_scaling": sections}
    return QwenImagePipeline(
        scheduler=flow(),
        vae=AutoencoderKLQwenImage(**VIDEO_VAE),
        text_encoder=Qwen2_5_VLForConditionalGeneration(
            Qwen2_5_VLConfig(text_config=text, vision_config=vision)
        ),
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
