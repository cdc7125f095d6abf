"""Lumina 2: captions behind an instruction, the timestep counted from the image."""

from diffusers import Lumina2Pipeline, Lumina2Transformer2DModel

from tests.pipelines.parts import AXES, CHANNELS, TEXT_WIDTH, flow, gemma, gemma_tokenizer
from tests.tiny_pipelines import autoencoder


def lumina2() -> Lumina2Pipeline:
    """One refiner of each stream, two blocks of both."""
    return Lumina2Pipeline(
        transformer=Lumina2Transformer2DModel(
            sample_size=8,
            in_channels=CHANNELS,
            hidden_size=32,
            num_layers=2,
            num_refiner_layers=1,
            num_attention_heads=2,
            num_kv_heads=1,
            multiple_of=16,
            axes_dim_rope=AXES,
            axes_lens=(400, 64, 64),
            cap_feat_dim=TEXT_WIDTH,
        ),
        scheduler=flow(),
        vae=autoencoder(CHANNELS, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=gemma(),
        tokenizer=gemma_tokenizer(),  # pyright: ignore[reportArgumentType]
    )
