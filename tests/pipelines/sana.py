"""Sana: a deep autoencoder without a distribution, its text behind an instruction."""

from typing import Any

from diffusers import (
    AutoencoderDC,
    DPMSolverMultistepScheduler,
    SanaPipeline,
    SanaTransformer2DModel,
)

from tests.pipelines.parts import CHANNELS, HEADS, TEXT_WIDTH, gemma, gemma_tokenizer


def sana() -> SanaPipeline:
    """Three blocks."""
    vae: dict[str, Any] = {
        "latent_channels": CHANNELS,
        "attention_head_dim": 4,
        "encoder_block_types": "ResBlock",
        "decoder_block_types": "ResBlock",
        "encoder_block_out_channels": (8,) * 6,
        "decoder_block_out_channels": (8,) * 6,
        "encoder_layers_per_block": (1,) * 6,
        "decoder_layers_per_block": (1,) * 6,
        "encoder_qkv_multiscales": ((),) * 6,
        "decoder_qkv_multiscales": ((),) * 6,
        "scaling_factor": 0.41407,
    }
    return SanaPipeline(
        tokenizer=gemma_tokenizer(),  # pyright: ignore[reportArgumentType]
        text_encoder=gemma(),
        vae=AutoencoderDC(**vae),
        transformer=SanaTransformer2DModel(
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_layers=3,
            sample_size=32,
            patch_size=1,
            num_cross_attention_heads=2,
            cross_attention_head_dim=16,
            cross_attention_dim=32,
            caption_channels=TEXT_WIDTH,
            **HEADS,
        ),
        scheduler=DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    )
