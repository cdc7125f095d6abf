"""The small Stable Diffusion 3 pipeline for digits, before anything is trained."""

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from digits_images import DIGIT_WORDS
from parts import clip_tokenizer, pieces_of, start_as_identity, t5_tokenizer
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

CAPTION_LENGTH = 77
CLIP_WIDTH = 32
T5_WIDTH = 64
WORDS = ["a", "handwritten", *DIGIT_WORDS]


def make_clip_tokenizer() -> CLIPTokenizer:
    """Return a CLIP tokenizer that knows the captions' words."""
    return clip_tokenizer(map(pieces_of, WORDS), CAPTION_LENGTH)


def make_t5_tokenizer() -> T5Tokenizer:
    """Return a T5 tokenizer that knows the captions' words."""
    return t5_tokenizer(WORDS, CAPTION_LENGTH)


def make_clip_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    """Return a random CLIP text encoder that tells the captions apart.

    CLIP starts small, which makes all captions look alike to an encoder that is never trained. So
    the layers start twice as large and the token embeddings are drawn again at a scale of 1.
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
    encoder = CLIPTextModelWithProjection(config)
    torch.nn.init.normal_(encoder.get_input_embeddings().weight)
    return encoder


def make_t5_encoder(tokenizer: T5Tokenizer) -> T5EncoderModel:
    """Return a random T5 encoder."""
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=T5_WIDTH,
        d_kv=16,
        d_ff=2 * T5_WIDTH,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
    )
    return T5EncoderModel(config)


def make_autoencoder() -> AutoencoderKL:
    """Return an untrained autoencoder with SD3's latent channels and spatial factor 8."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 32, 32),
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=8,
        sample_size=64,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def make_transformer() -> SD3Transformer2DModel:
    """Return an untrained transformer in the manner of SD3.5, every block starting as identity."""
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=12,
        num_attention_heads=4,
        attention_head_dim=16,
        caption_projection_dim=64,
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
        text_encoder=make_clip_encoder(clip_tokenizer).eval(),
        tokenizer=clip_tokenizer,
        text_encoder_2=make_clip_encoder(clip_tokenizer).eval(),
        tokenizer_2=clip_tokenizer,
        text_encoder_3=make_t5_encoder(t5_tokenizer).eval(),
        tokenizer_3=t5_tokenizer,
    )
