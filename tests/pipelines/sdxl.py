"""SDXL: a UNet, two CLIPs, sizes of images as inputs; and Stable Diffusion 1.5."""

from typing import Any

from diffusers import (
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from tests.pipelines.parts import CHANNELS
from tests.tiny_pipelines import CLIP_WIDTH, autoencoder, clip_config, clip_tokenizer

UNET: dict[str, Any] = {
    "sample_size": 8,
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (2, 4),
}


def sdxl(**schedule: Any) -> StableDiffusionXLPipeline:
    """Transformers of one and two blocks."""
    clip = clip_tokenizer()
    added = 6 * 8 + CLIP_WIDTH
    return StableDiffusionXLPipeline(
        vae=autoencoder(CHANNELS, scaling_factor=0.13025),
        text_encoder=CLIPTextModel(clip_config(clip)),
        text_encoder_2=CLIPTextModelWithProjection(clip_config(clip)),
        tokenizer=clip,
        tokenizer_2=clip,
        unet=UNet2DConditionModel(
            **UNET,
            cross_attention_dim=2 * CLIP_WIDTH,
            transformer_layers_per_block=(1, 2),  # pyright: ignore[reportArgumentType]
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=added,
        ),
        # sampled by sigmas: its own noising is not what SDXL was trained with
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", **schedule
        ),  # pyright: ignore[reportArgumentType]
    )


def sdxl_v() -> StableDiffusionXLPipeline:
    """The same by v-prediction."""
    return sdxl(prediction_type="v_prediction")


def sd15() -> StableDiffusionPipeline:
    """Stable Diffusion 1.5's kind."""
    clip = clip_tokenizer()
    return StableDiffusionPipeline(
        vae=autoencoder(CHANNELS, scaling_factor=0.18215),
        text_encoder=CLIPTextModel(clip_config(clip)),
        tokenizer=clip,
        unet=UNet2DConditionModel(**UNET, cross_attention_dim=CLIP_WIDTH),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
        ),  # pyright: ignore[reportArgumentType]
        safety_checker=None,  # pyright: ignore[reportArgumentType]
        feature_extractor=None,  # pyright: ignore[reportArgumentType]
        requires_safety_checker=False,
    )
