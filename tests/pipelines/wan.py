"""Wan: videos, here of one frame; the text is cross-attended."""

from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel

from tests.pipelines.parts import CHANNELS, HEADS, VIDEO_VAE, drawn
from tests.tiny_pipelines import WIDTH, llama_tokenizer, umt5_encoder

BOUNDARY = 0.875


def wan() -> WanPipeline:
    """Wan 2.1: three blocks."""
    tokenizer = llama_tokenizer(max_length=512)
    return WanPipeline(
        tokenizer=tokenizer,  # pyright: ignore[reportArgumentType]
        text_encoder=umt5_encoder(tokenizer),
        vae=AutoencoderKLWan(**VIDEO_VAE),
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),  # pyright: ignore[reportArgumentType]
        transformer=WanTransformer3DModel(
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_layers=3,
            text_dim=WIDTH,
            freq_dim=16,
            ffn_dim=64,
            rope_max_seq_len=32,
            **HEADS,
        ),
    )


def wan22_14b() -> WanPipeline:
    """Wan 2.2's larger models: one transformer for much noise, one for little."""
    first, second = wan(), wan()
    drawn(second.transformer)
    return WanPipeline(
        **{
            name: getattr(first, name) for name in ("tokenizer", "text_encoder", "vae", "scheduler")
        },
        transformer=first.transformer,
        transformer_2=second.transformer,
        boundary_ratio=BOUNDARY,
    )


def wan22_5b() -> WanPipeline:
    """Wan 2.2's smaller model: each token has a timestep of its own."""
    pipeline = wan()
    pipeline.register_to_config(expand_timesteps=True)
    return pipeline
