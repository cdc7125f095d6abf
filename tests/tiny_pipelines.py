"""Small random diffusers pipelines, built from their configurations: nothing is downloaded."""

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AuraFlowPipeline,
    AuraFlowTransformer2DModel,
    AutoencoderKL,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from tokenizers import pre_tokenizers
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    LlamaTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

from lokr_weighting.models.denoiser import denoiser

KINDS = ("sd3", "sd3.5-medium", "flux", "auraflow")

HEADS = 4
HEAD_WIDTH = 16
WIDTH = HEADS * HEAD_WIDTH  # of the transformer, and of T5's output
CLIP_WIDTH = 32  # two of them must fit into WIDTH: Stable Diffusion 3 puts them side by side
CLIP_TOKENS = 77
WEIGHT_STD = 0.1  # every block then turns its hidden states by 0.05 to 0.5 of half a turn

CHARACTERS = string.ascii_letters + string.digits + string.punctuation


def build(kind: str, folder: Path, seed: int = 0) -> Path:
    """Save a random pipeline of this kind to `folder`; the same seed gives the same weights."""
    return saved(BUILDERS[kind], redraw, folder, seed)


def saved(
    make: Callable[[], DiffusionPipeline],
    redrawn: Callable[[nn.Module], None],
    folder: Path,
    seed: int,
) -> Path:
    """Save what `make` makes to `folder`, its model drawn anew; one seed, the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = make()
        redrawn(denoiser(pipeline))
    pipeline.save_pretrained(folder)
    return folder


def sd3() -> StableDiffusion3Pipeline:
    """Six joint blocks, with query and key normalised as in Stable Diffusion 3.5."""
    return stable_diffusion_3(dual_attention_layers=())


def sd35_medium() -> StableDiffusion3Pipeline:
    """The same with a second attention over the image in the first three blocks."""
    return stable_diffusion_3(dual_attention_layers=(0, 1, 2))


def stable_diffusion_3(dual_attention_layers: tuple[int, ...]) -> StableDiffusion3Pipeline:
    """Stable Diffusion 3 with two CLIPs and a T5."""
    clip, t5 = clip_tokenizer(), t5_tokenizer(max_length=256)
    transformer = SD3Transformer2DModel(
        sample_size=32,
        in_channels=16,
        out_channels=16,
        num_layers=6,
        num_attention_heads=HEADS,
        attention_head_dim=HEAD_WIDTH,
        joint_attention_dim=WIDTH,
        caption_projection_dim=WIDTH,
        pooled_projection_dim=2 * CLIP_WIDTH,
        pos_embed_max_size=48,
        qk_norm="rms_norm",
        dual_attention_layers=dual_attention_layers,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(latent_channels=16, scaling_factor=1.5305, shift_factor=0.0609),
        text_encoder=CLIPTextModelWithProjection(clip_config(clip)),
        tokenizer=clip,
        text_encoder_2=CLIPTextModelWithProjection(clip_config(clip)),
        tokenizer_2=clip,
        text_encoder_3=t5_encoder(t5),
        tokenizer_3=t5,
    )


def flux() -> FluxPipeline:
    """FLUX.1-dev: three double and four single blocks, the guidance scale as an input."""
    clip, t5 = clip_tokenizer(), t5_tokenizer(max_length=512)
    transformer = FluxTransformer2DModel(
        in_channels=64,
        num_layers=3,
        num_single_layers=4,
        num_attention_heads=HEADS,
        attention_head_dim=HEAD_WIDTH,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=CLIP_WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    )
    return FluxPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=autoencoder(latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=CLIPTextModel(clip_config(clip)),
        tokenizer=clip,
        text_encoder_2=t5_encoder(t5),
        tokenizer_2=t5,
    )


def auraflow() -> AuraFlowPipeline:
    """AuraFlow: two joint and four single blocks."""
    tokenizer = llama_tokenizer(max_length=256)
    transformer = AuraFlowTransformer2DModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        num_mmdit_layers=2,
        num_single_dit_layers=4,
        num_attention_heads=HEADS,
        attention_head_dim=HEAD_WIDTH,
        joint_attention_dim=WIDTH,
        caption_projection_dim=WIDTH,
    )
    return AuraFlowPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(latent_channels=4, scaling_factor=0.13025),
        text_encoder=umt5_encoder(tokenizer),
        # diffusers names T5's tokenizer here, but AuraFlow is published with Llama's
        tokenizer=tokenizer,  # pyright: ignore[reportArgumentType]
    )


BUILDERS: dict[str, Callable[[], DiffusionPipeline]] = {
    "sd3": sd3,
    "sd3.5-medium": sd35_medium,
    "flux": flux,
    "auraflow": auraflow,
}


@torch.no_grad()
def redraw(model: nn.Module) -> None:
    """Draw every matrix anew, so that gates and modulations do something."""
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.normal_(std=WEIGHT_STD)


def autoencoder(
    latent_channels: int, scaling_factor: float, shift_factor: float | None = None
) -> AutoencoderKL:
    """An autoencoder that makes images eight times smaller."""
    # diffusers annotates the tuples as one element long, hence the dict
    settings: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (8, 8, 16, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "latent_channels": latent_channels,
        "scaling_factor": scaling_factor,
        "shift_factor": shift_factor,
        # only the newer families shift their latents, and they leave these two layers out
        "use_quant_conv": shift_factor is None,
        "use_post_quant_conv": shift_factor is None,
    }
    return AutoencoderKL(**settings)


def clip_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer that knows single bytes only."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    ends = [f"{letter}</w>" for letter in letters]
    tokens = [*letters, *ends, "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab=numbered(tokens), merges=[], model_max_length=CLIP_TOKENS)


def t5_tokenizer(max_length: int) -> T5Tokenizer:
    """A T5 tokenizer that knows single characters only."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    characters = [(character, -4.0) for character in CHARACTERS]
    return T5Tokenizer(vocab=special + characters, extra_ids=0, model_max_length=max_length)


def llama_tokenizer(max_length: int) -> LlamaTokenizer:
    """A Llama tokenizer that knows single characters and, for all others, their bytes."""
    special = ["<unk>", "<s>", "</s>", "▁"]
    some_bytes = [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary = numbered([*special, *some_bytes, *CHARACTERS])
    return LlamaTokenizer(
        vocab=vocabulary, merges=[], pad_token="</s>", model_max_length=max_length
    )


def numbered(tokens: list[str]) -> dict[str, int]:
    """The vocabulary in which each token's number is its place in the list."""
    return {token: number for number, token in enumerate(tokens)}


def clip_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    """A two-layer CLIP text model for this tokenizer."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=CLIP_WIDTH,
        projection_dim=CLIP_WIDTH,
        intermediate_size=2 * CLIP_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        max_position_embeddings=CLIP_TOKENS,
        bos_token_id=len(tokenizer) - 2,
        eos_token_id=len(tokenizer) - 1,
        pad_token_id=len(tokenizer) - 1,
    )


def t5_encoder(tokenizer: T5Tokenizer) -> T5EncoderModel:
    """A two-layer T5 encoder for this tokenizer."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=WIDTH,
            d_kv=HEAD_WIDTH,
            d_ff=2 * WIDTH,
            num_layers=2,
            num_heads=HEADS,
            feed_forward_proj="gated-gelu",
        )
    )


def umt5_encoder(tokenizer: LlamaTokenizer) -> UMT5EncoderModel:
    """A two-layer UMT5 encoder for this tokenizer."""
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(tokenizer),
            d_model=WIDTH,
            d_kv=HEAD_WIDTH,
            d_ff=2 * WIDTH,
            num_layers=2,
            num_heads=HEADS,
        )
    )
