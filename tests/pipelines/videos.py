"""LTX and HunyuanVideo, here of one frame."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    AutoencoderKLLTXVideo,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
    LTXPipeline,
    LTXVideoTransformer3DModel,
)
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from transformers import CLIPTextModel, LlamaConfig, LlamaModel

from tests.pipelines.parts import AXES, CHANNELS, HEADS, LAYERS, MEAN, STD, TEXT_WIDTH, flow
from tests.tiny_pipelines import (
    CLIP_WIDTH,
    WIDTH,
    clip_config,
    clip_tokenizer,
    llama_tokenizer,
    t5_encoder,
    t5_tokenizer,
)

HUNYUAN_VAE: dict[str, Any] = {
    "down_block_types": ("HunyuanVideoDownBlock3D",) * 4,
    "up_block_types": ("HunyuanVideoUpBlock3D",) * 4,
    "block_out_channels": (8, 8, 8, 8),
    "latent_channels": CHANNELS,
    "layers_per_block": 1,
    "norm_num_groups": 4,
}


def ltx() -> LTXPipeline:
    """Three blocks; the text is cross-attended."""
    settings: dict[str, Any] = {
        "latent_channels": CHANNELS,
        "block_out_channels": (8, 8, 8, 8),
        "decoder_block_out_channels": (8, 8, 8, 8),
        "layers_per_block": (1, 1, 1, 1, 1),
        "decoder_layers_per_block": (1, 1, 1, 1, 1),
    }
    vae = AutoencoderKLLTXVideo(**settings)
    vae.latents_mean, vae.latents_std = torch.tensor(MEAN), torch.tensor(STD)
    tokenizer = t5_tokenizer(max_length=128)
    return LTXPipeline(
        scheduler=flow(),
        vae=vae,
        text_encoder=t5_encoder(tokenizer),
        tokenizer=tokenizer,  # pyright: ignore[reportArgumentType]
        transformer=LTXVideoTransformer3DModel(
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_layers=3,
            cross_attention_dim=32,
            caption_channels=WIDTH,
            **HEADS,
        ),
    )


def hunyuan_video() -> HunyuanVideoPipeline:
    """Two double and two single blocks, the guidance scale as an input."""
    clip, llama = clip_tokenizer(), llama_tokenizer(max_length=512)
    # letter by letter the instruction alone would fill the text
    llama.add_tokens(sorted(set(DEFAULT_PROMPT_TEMPLATE["template"].split())))
    text: dict[str, Any] = {**LAYERS, "num_hidden_layers": 3, "vocab_size": 500}
    return HunyuanVideoPipeline(
        text_encoder=LlamaModel(LlamaConfig(**text)),
        tokenizer=llama,  # pyright: ignore[reportArgumentType]
        transformer=HunyuanVideoTransformer3DModel(
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_layers=2,
            num_single_layers=2,
            num_refiner_layers=1,
            text_embed_dim=TEXT_WIDTH,
            pooled_projection_dim=CLIP_WIDTH,
            rope_axes_dim=AXES,
            **HEADS,
        ),
        vae=AutoencoderKLHunyuanVideo(**HUNYUAN_VAE),
        scheduler=flow(),
        text_encoder_2=CLIPTextModel(clip_config(clip)),
        tokenizer_2=clip,
    )
