"""Kandinsky 5, images and videos: text blocks of their own, latents with their channels last."""

from typing import Any

from diffusers import (
    AutoencoderKLHunyuanVideo,
    Kandinsky5T2IPipeline,
    Kandinsky5T2VPipeline,
    Kandinsky5Transformer3DModel,
)
from transformers import (
    CLIPTextModel,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from tests.pipelines.parts import AXES, CHANNELS, TEXT_WIDTH, flow, qwen25_vl, qwen_tokenizer
from tests.pipelines.videos import HUNYUAN_VAE
from tests.tiny_pipelines import CLIP_WIDTH, autoencoder, clip_config, clip_tokenizer


def image() -> Kandinsky5T2IPipeline:
    """One block of text, three of images."""
    return Kandinsky5T2IPipeline(
        vae=autoencoder(CHANNELS, scaling_factor=0.3611, shift_factor=0.1159),
        **parts(visual_cond=False),
    )


def video() -> Kandinsky5T2VPipeline:
    """The same with room for frames that are given, here none."""
    return Kandinsky5T2VPipeline(
        vae=AutoencoderKLHunyuanVideo(**HUNYUAN_VAE), **parts(visual_cond=True)
    )


def parts(visual_cond: bool) -> dict[str, Any]:
    clip = clip_tokenizer()
    return {
        "transformer": Kandinsky5Transformer3DModel(
            in_visual_dim=CHANNELS,
            out_visual_dim=CHANNELS,
            in_text_dim=TEXT_WIDTH,
            in_text_dim2=CLIP_WIDTH,
            time_dim=16,
            model_dim=32,
            ff_dim=64,
            num_text_blocks=1,
            num_visual_blocks=3,
            axes_dims=AXES,
            visual_cond=visual_cond,
        ),
        "text_encoder": qwen25_vl(),
        "tokenizer": Qwen2VLProcessor(
            Qwen2VLImageProcessor(), qwen_tokenizer(), Qwen2VLVideoProcessor()
        ),
        "text_encoder_2": CLIPTextModel(clip_config(clip)),
        "tokenizer_2": clip,
        "scheduler": flow(),
    }
