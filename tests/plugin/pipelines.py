"""Small random pipelines of the families that SimpleTuner trains beside the first three."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffusers import (
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    AutoencoderKLWan,
    ChromaPipeline,
    DDPMScheduler,
    DiffusionPipeline,
    Flux2KleinPipeline,
    LongCatImagePipeline,
    Lumina2Pipeline,
    PixArtSigmaPipeline,
    QwenImagePipeline,
    WanPipeline,
    ZImagePipeline,
)
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3ForCausalLM,
)

from tests.families.tiny import TINY
from tests.pipelines.kolors import kolors
from tests.pipelines.parts import (
    LAYERS,
    TEXT_WIDTH,
    flow,
    gemma,
    gemma_tokenizer,
    qwen3_config,
    qwen_tokenizer,
)
from tests.pipelines.sana import sana
from tests.pipelines.sdxl import sd15, sdxl
from tests.tiny_pipelines import autoencoder, redraw, saved, t5_encoder, t5_tokenizer, umt5_encoder


def build(kind: str, folder: Path, seed: int = 0) -> Path:
    """Save a random pipeline of this kind to `folder`; the same seed gives the same weights."""
    return saved(BUILDERS[kind], redraw, folder, seed)


def small(class_name: str, **changes: Any) -> Any:
    """The small transformer of the families' tests, with another input."""
    import diffusers

    return getattr(diffusers, class_name)(**TINY[class_name].config | changes)


def qwen25_vl(tokens: int) -> Qwen2_5_VLForConditionalGeneration:
    """A Qwen 2.5 VL of two layers for a tokenizer of so many tokens."""
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "out_hidden_size": TEXT_WIDTH}
    language = LAYERS | {
        "vocab_size": tokens,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]},
    }
    config = Qwen2_5_VLConfig(
        text_config=language, vision_config=vision | {"intermediate_size": 32}
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def qwen_image() -> QwenImagePipeline:
    """Qwen-Image, whose autoencoder is a video's."""
    tokenizer = qwen_tokenizer()
    return QwenImagePipeline(
        scheduler=flow(),
        vae=AutoencoderKLQwenImage(base_dim=8, dim_mult=[1, 1, 1, 1], num_res_blocks=1),
        text_encoder=qwen25_vl(len(tokenizer)),
        tokenizer=tokenizer,
        transformer=small("QwenImageTransformer2DModel", in_channels=64, out_channels=16),
    )


def flux2() -> Flux2KleinPipeline:
    """FLUX.2 Klein; the large FLUX.2 is of the same class."""
    tokenizer = qwen_tokenizer()
    settings: dict[str, Any] = {"block_out_channels": (8, 8, 16, 16), "norm_num_groups": 4}
    return Flux2KleinPipeline(
        scheduler=flow(),
        vae=AutoencoderKLFlux2(layers_per_block=1, **settings),
        text_encoder=Qwen3ForCausalLM(qwen3_config(layers=3)),
        tokenizer=tokenizer,
        transformer=small(
            "Flux2Transformer2DModel", in_channels=128, joint_attention_dim=3 * TEXT_WIDTH
        ),
    )


def chroma() -> ChromaPipeline:
    """Chroma, Flux without CLIP."""
    tokenizer = t5_tokenizer(max_length=77)
    text_encoder = t5_encoder(tokenizer)
    return ChromaPipeline(
        scheduler=flow(),
        vae=autoencoder(latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        transformer=small(
            "ChromaTransformer2DModel",
            in_channels=64,
            joint_attention_dim=text_encoder.config.d_model,
        ),
    )


def z_image() -> ZImagePipeline:
    """Z-Image, whose captions are lists."""
    tokenizer = qwen_tokenizer()
    return ZImagePipeline(
        scheduler=flow(),
        vae=autoencoder(latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=Qwen3ForCausalLM(qwen3_config(layers=3)),
        tokenizer=tokenizer,  # pyright: ignore[reportArgumentType]
        transformer=small("ZImageTransformer2DModel", in_channels=16),
    )


def wan() -> WanPipeline:
    """Wan, a model of videos, which trains on pictures too."""
    tokenizer = t5_tokenizer(max_length=512)
    text_encoder: Any = umt5_encoder(tokenizer)  # pyright: ignore[reportArgumentType]
    return WanPipeline(
        tokenizer=tokenizer,  # pyright: ignore[reportArgumentType]
        text_encoder=text_encoder,
        vae=AutoencoderKLWan(base_dim=8, dim_mult=[1, 1, 1, 1], num_res_blocks=1),
        scheduler=flow(),
        transformer=small(
            "WanTransformer3DModel",
            in_channels=16,
            out_channels=16,
            text_dim=text_encoder.config.d_model,
        ),
    )


def lumina2() -> Lumina2Pipeline:
    """Lumina 2, with a Gemma."""
    return Lumina2Pipeline(
        transformer=small("Lumina2Transformer2DModel", in_channels=16, axes_lens=(256, 64, 64)),
        scheduler=flow(),
        vae=autoencoder(latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=gemma(),
        tokenizer=gemma_tokenizer(),
    )


def pixart() -> PixArtSigmaPipeline:
    """PixArt-Sigma, which predicts the noise itself."""
    tokenizer = t5_tokenizer(max_length=300)
    text_encoder = t5_encoder(tokenizer)
    return PixArtSigmaPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=autoencoder(latent_channels=4, scaling_factor=0.13025),
        transformer=small(
            "PixArtTransformer2DModel",
            out_channels=8,
            caption_channels=text_encoder.config.d_model,
        ),
        scheduler=DDPMScheduler(),  # pyright: ignore[reportArgumentType]
    )


def longcat_image() -> LongCatImagePipeline:
    """LongCat-Image, whose text encoder sees pictures too."""
    tokenizer = qwen_tokenizer()
    pictures = Qwen2VLImageProcessor(), tokenizer, Qwen2VLVideoProcessor()
    processor: Any = Qwen2_5_VLProcessor(*pictures)
    return LongCatImagePipeline(
        scheduler=flow(),
        vae=autoencoder(latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=qwen25_vl(len(tokenizer)),
        tokenizer=tokenizer,
        text_processor=processor,
        transformer=small(
            "LongCatImageTransformer2DModel", in_channels=64, joint_attention_dim=TEXT_WIDTH
        ),
    )


BUILDERS: dict[str, Callable[[], DiffusionPipeline]] = {
    "qwen_image": qwen_image,
    "flux2": flux2,
    "chroma": chroma,
    "z_image": z_image,
    "wan": wan,
    "lumina2": lumina2,
    "pixart": pixart,
    "sdxl": sdxl,
    "sd1x": sd15,
    "kolors": kolors,
    "sana": sana,
    "longcat_image": longcat_image,
}
