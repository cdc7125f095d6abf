import pytest
import torch
from diffusers import SD3Transformer2DModel


@pytest.fixture(scope="module")
def small() -> SD3Transformer2DModel:
    """Twelve blocks, so that patterns for block 1 can wrongly match 10 and 11."""
    with torch.device("meta"):
        return SD3Transformer2DModel(
            num_layers=12,
            attention_head_dim=32,
            num_attention_heads=4,
            caption_projection_dim=128,
            joint_attention_dim=64,
            pooled_projection_dim=64,
        )
