"""HiDream: four text encoders, one of which gives every layer's output."""

from typing import Any

from diffusers import HiDreamImagePipeline, HiDreamImageTransformer2DModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
)

from tests.pipelines.parts import AXES, CHANNELS, HEADS, LAYERS, TEXT_WIDTH, flow
from tests.tiny_pipelines import (
    CLIP_WIDTH,
    WIDTH,
    autoencoder,
    clip_config,
    clip_tokenizer,
    llama_tokenizer,
    t5_encoder,
    t5_tokenizer,
)

LONG_CLIP = 248  # tokens


def hidream() -> HiDreamImagePipeline:
    """Two double and two single blocks."""
    clip, t5, llama = clip_tokenizer(), t5_tokenizer(max_length=512), llama_tokenizer(512)
    text: dict[str, Any] = {**LAYERS, "vocab_size": 400}
    return HiDreamImagePipeline(
        scheduler=flow(),
        vae=autoencoder(CHANNELS, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=long_clip(clip),
        tokenizer=clip,
        text_encoder_2=long_clip(clip),
        tokenizer_2=clip,
        text_encoder_3=t5_encoder(t5),
        tokenizer_3=t5,
        text_encoder_4=LlamaForCausalLM(LlamaConfig(**text)),
        tokenizer_4=llama,  # pyright: ignore[reportArgumentType]
        transformer=HiDreamImageTransformer2DModel(
            patch_size=2,
            in_channels=CHANNELS,
            num_layers=2,
            num_single_layers=2,
            caption_channels=[WIDTH, TEXT_WIDTH],  # pyright: ignore[reportArgumentType]
            text_emb_dim=2 * CLIP_WIDTH,
            num_routed_experts=2,
            num_activated_experts=1,
            axes_dims_rope=AXES,  # pyright: ignore[reportArgumentType]
            max_resolution=(8, 24),  # pyright: ignore[reportArgumentType]
            llama_layers=[0, 1, 1, 1],  # pyright: ignore[reportArgumentType]
            **HEADS,
        ),
    )


def long_clip(tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    """A CLIP for longer captions."""
    config = CLIPTextConfig(
        **{**clip_config(tokenizer).to_dict(), "max_position_embeddings": LONG_CLIP}
    )
    return CLIPTextModelWithProjection(config)
