"""Small random transformers of every family, and inputs for them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lokr_weighting.models.blocks import blocks_of
from tests import tiny_pipelines

BATCH, TEXT = 2, 12


def model_and_inputs(kind: str, seed: int = 0) -> tuple[nn.Module, dict[str, Any]]:
    """A tiny pipeline's transformer, and a batch of two for its forward."""
    torch.manual_seed(seed)
    pipeline = {
        "sd3": tiny_pipelines.sd3,
        "sd3.5-medium": tiny_pipelines.sd35_medium,
        "flux": tiny_pipelines.flux,
        "auraflow": tiny_pipelines.auraflow,
    }[kind]()
    model = pipeline.transformer.eval()
    tiny_pipelines.redraw(model)
    config = model.config
    inputs: dict[str, Any] = {
        "encoder_hidden_states": torch.randn(BATCH, TEXT, config.joint_attention_dim),
        "timestep": torch.tensor([0.3, 0.8]),
    }
    if kind == "flux":
        inputs |= {
            "hidden_states": torch.randn(BATCH, 16, config.in_channels),
            "pooled_projections": torch.randn(BATCH, config.pooled_projection_dim),
            "guidance": torch.ones(BATCH),
            "img_ids": torch.zeros(16, 3),
            "txt_ids": torch.zeros(TEXT, 3),
        }
    else:
        inputs["hidden_states"] = torch.randn(BATCH, config.in_channels, 8, 8)
    if kind.startswith("sd3"):
        inputs["pooled_projections"] = torch.randn(BATCH, config.pooled_projection_dim)
        inputs["timestep"] = inputs["timestep"] * 1000
    return model, inputs


def run_with_hook(model: nn.Module, inputs: dict[str, Any], hook: Callable[..., None]) -> None:
    """Run the model once with a plain hook, (module, args, kwargs, output), behind every block."""
    blocks = [block.module for block in blocks_of(model)]
    handles = [block.register_forward_hook(hook, with_kwargs=True) for block in blocks]
    with torch.no_grad():
        model(**inputs)
    for handle in handles:
        handle.remove()
