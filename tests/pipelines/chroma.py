"""Chroma: as Flux, with a mask of the text and modulations that one network makes."""

from diffusers import ChromaPipeline, ChromaTransformer2DModel

from tests.pipelines.parts import AXES, CHANNELS, HEADS, flow
from tests.tiny_pipelines import WIDTH, autoencoder, t5_encoder, t5_tokenizer


def chroma() -> ChromaPipeline:
    """Two double and two single blocks."""
    tokenizer = t5_tokenizer(max_length=512)
    return ChromaPipeline(
        scheduler=flow(),
        vae=autoencoder(CHANNELS, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=t5_encoder(tokenizer),
        tokenizer=tokenizer,  # pyright: ignore[reportArgumentType]
        transformer=ChromaTransformer2DModel(
            in_channels=4 * CHANNELS,
            num_layers=2,
            num_single_layers=2,
            joint_attention_dim=WIDTH,
            approximator_num_channels=8,
            approximator_hidden_dim=16,
            approximator_layers=1,
            axes_dims_rope=AXES,
            **HEADS,
        ),
    )
