"""Small UNets of SD 1.5's and SDXL's shape: blocks of several lists, grouped by width."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel

ATTENTION = "attentions.{}.transformer_blocks"
"""What a list is called inside its part of the UNet."""


@dataclass(frozen=True)
class Unet:
    """A UNet's shape.

    Attributes:
        config: what it is made with.
        lists: a list's path -> how many blocks are in it; in the order they run, by hand.
        conditions: what its forward gets beside the caption.
    """

    config: dict[str, Any]
    lists: dict[str, int]
    conditions: Callable[[], dict[str, Any]] = dict

    def build(self) -> UNet2DConditionModel:
        torch.manual_seed(0)
        common = {"norm_num_groups": 4, "cross_attention_dim": 24, "sample_size": 16}
        model = UNet2DConditionModel(**common, **self.config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn_like(parameter) * 0.15)
        return model

    def inputs(self, seed: int = 0) -> dict[str, Any]:
        """A batch of two images that are not square."""
        torch.manual_seed(seed)
        return {
            "sample": torch.randn(2, 4, 16, 24),
            "timestep": torch.tensor([300.0, 800.0]),
            "encoder_hidden_states": torch.randn(2, 7, 24),
            **self.conditions(),
        }

    @property
    def names(self) -> list[str]:
        return [f"{path}.{i}" for path, count in self.lists.items() for i in range(count)]


def _lists(*rows: tuple[str, int, int]) -> dict[str, int]:
    """Rows of (part, attentions in it, blocks in each)."""
    return {
        f"{part}.{ATTENTION.format(number)}": blocks
        for part, count, blocks in rows
        for number in range(count)
    }


def _added() -> dict[str, Any]:
    ids = torch.tensor([[128, 192, 0, 0, 128, 192]] * 2)
    return {"added_cond_kwargs": {"text_embeds": torch.randn(2, 16), "time_ids": ids}}


UNETS = {
    "sd 1.5": Unet(
        {"block_out_channels": (8, 16, 16, 16), "attention_head_dim": 2},
        _lists(
            *((f"down_blocks.{place}", 2, 1) for place in (0, 1, 2)),
            ("mid_block", 1, 1),
            *((f"up_blocks.{place}", 3, 1) for place in (1, 2, 3)),
        ),
    ),
    "sdxl": Unet(
        {
            "block_out_channels": (8, 16, 24),
            "attention_head_dim": (2, 2, 3),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2, 4),
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + 16,
        },
        _lists(
            ("down_blocks.1", 2, 2),
            ("down_blocks.2", 2, 4),
            ("mid_block", 1, 4),
            ("up_blocks.0", 3, 4),
            ("up_blocks.1", 3, 2),
        ),
        _added,
    ),
}
"""A model -> its shape, of fewer and smaller blocks: SDXL's own lists hold 2 and 10."""
