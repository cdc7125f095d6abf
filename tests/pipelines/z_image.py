"""Z-Image: captions as a list, the timestep counted from the image."""

from diffusers import ZImagePipeline, ZImageTransformer2DModel
from transformers import Qwen3Model

from tests.pipelines.parts import CHANNELS, TEXT_WIDTH, flow, qwen3_config, qwen_tokenizer
from tests.tiny_pipelines import autoencoder


def z_image() -> ZImagePipeline:
    """One refiner of each stream, two blocks of both."""
    return ZImagePipeline(
        scheduler=flow(),
        vae=autoencoder(CHANNELS, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=Qwen3Model(qwen3_config(layers=2)),
        tokenizer=qwen_tokenizer(),  # pyright: ignore[reportArgumentType]
        transformer=ZImageTransformer2DModel(
            in_channels=CHANNELS,
            dim=32,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=TEXT_WIDTH,
            axes_dims=[4, 6, 6],
            axes_lens=[1024, 64, 64],
        ),
    )
