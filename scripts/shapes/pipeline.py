"""The small Stable Diffusion 3 pipeline for drawn scenes, before anything is trained."""

from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from parts import clip_tokenizer, pieces_of, save, start_as_identity, t5_tokenizer
from shapes_images import IMAGE_SIZE, WORDS
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

CAPTION_LENGTH = 20
LATENT_CHANNELS = 16
CLIP_WIDTH = 32
T5_WIDTH = 64


def merging_order() -> list[list[str]]:
    """Return the captions' words as pieces, in an order in which each can become one token.

    Merges are made in their order. So a word comes before all that begin as it goes on, as "top"
    does inside "bottom".
    """
    words = {word: pieces_of(word) for word in WORDS}
    order = TopologicalSorter(
        {
            word: [
                other
                for other, inside in words.items()
                if any(pieces[:2] == inside[start : start + 2] for start in range(1, len(other)))
            ]
            for word, pieces in words.items()
        }
    )
    return [words[word] for word in order.static_order()]


def make_clip_tokenizer() -> CLIPTokenizer:
    """Return a CLIP tokenizer that knows the captions' words."""
    return clip_tokenizer(merging_order(), CAPTION_LENGTH)


def make_t5_tokenizer() -> T5Tokenizer:
    """Return a T5 tokenizer that knows the captions' words."""
    return t5_tokenizer(WORDS, CAPTION_LENGTH)


def freeze(encoder: nn.Module) -> None:
    """Freeze an encoder with weights that bfloat16 can hold, for pipelines loaded as such."""
    encoder.to(torch.bfloat16).to(torch.float32).eval().requires_grad_(False)


def make_clip_encoder(tokenizer: Any) -> CLIPTextModelWithProjection:
    """Return a random CLIP text encoder that tells words and their order apart.

    CLIP starts small, which makes all captions look alike to an encoder that is never trained. So
    the layers start twice as large, the token embeddings are drawn again at a scale of 1 and the
    position embeddings, which tell an object's colour from the ground's, at a scale of 0.5.
    """
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=CLIP_WIDTH,
        intermediate_size=2 * CLIP_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=CLIP_WIDTH,
        max_position_embeddings=CAPTION_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_factor=2.0,
    )
    encoder: Any = CLIPTextModelWithProjection(config)
    nn.init.normal_(encoder.get_input_embeddings().weight)
    for name, weight in encoder.named_parameters():
        if name.endswith("position_embedding.weight"):
            nn.init.normal_(weight, std=0.5)
    freeze(encoder)
    return encoder


def make_t5_encoder(tokenizer: T5Tokenizer) -> T5EncoderModel:
    """Return a random T5 encoder, as small as its width allows."""
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=T5_WIDTH,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
    )
    encoder = T5EncoderModel(config)
    freeze(encoder)
    return encoder


def make_autoencoder() -> AutoencoderKL:
    """Return an untrained autoencoder with SD3's latent channels and spatial factor 8.

    All channels are normalised in one group, which leaves flat colours as they are, and it starts
    with little noise in the latents. Either makes it learn several times faster.
    """
    levels: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (16, 32, 32, 32),
    }
    autoencoder = AutoencoderKL(
        **levels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=1,
        sample_size=IMAGE_SIZE,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    log_variance: Any = autoencoder.encoder.conv_out.bias
    nn.init.constant_(log_variance[LATENT_CHANNELS:], -5.0)
    return autoencoder


def make_transformer() -> SD3Transformer2DModel:
    """Return an untrained transformer in the manner of SD3.5, every block starting as identity."""
    transformer: Any = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=16,
        num_attention_heads=6,
        attention_head_dim=16,
        caption_projection_dim=96,
        joint_attention_dim=T5_WIDTH,
        pooled_projection_dim=2 * CLIP_WIDTH,
        pos_embed_max_size=16,
        qk_norm="rms_norm",
    )
    start_as_identity(transformer)
    return transformer


def make_pipeline() -> StableDiffusion3Pipeline:
    """Put all parts together, nothing trained yet."""
    clip_tokenizer, t5_tokenizer = make_clip_tokenizer(), make_t5_tokenizer()
    return StableDiffusion3Pipeline(
        transformer=make_transformer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=make_autoencoder(),
        text_encoder=make_clip_encoder(clip_tokenizer),
        tokenizer=clip_tokenizer,
        text_encoder_2=make_clip_encoder(clip_tokenizer),
        tokenizer_2=clip_tokenizer,
        text_encoder_3=make_t5_encoder(t5_tokenizer),
        tokenizer_3=t5_tokenizer,
    )


def save_pipeline(pipeline: Any, folder: Path) -> None:
    """Write the diffusers folder, its transformer and autoencoder in bfloat16."""
    pipeline.transformer.to(torch.bfloat16)
    pipeline.vae.to(torch.bfloat16)
    save(pipeline, folder)
