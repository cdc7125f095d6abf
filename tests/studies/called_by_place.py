"""Small random models that pass their blocks' arguments by place, with rows and inputs for them."""

from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from torch import nn

from lokr_weighting.models.family import BlockList, Family, Streams
from tests.tiny_pipelines import redraw

ALONE = Streams(text_in=None, image_out=None, text_out=None)
IMAGE_FIRST_OUT = Streams(image_out=0, text_out=1)
TEXT = 6


@dataclass(frozen=True)
class Case:
    """A class, what it is made with, its block lists' streams, and its inputs' shapes."""

    class_name: str
    config: dict[str, Any]
    lists: dict[str, Streams]
    inputs: dict[str, Any]

    @property
    def family(self) -> Family:
        """A row with these lists."""
        lists = tuple(BlockList(path, (), streams) for path, streams in self.lists.items())
        return Family(self.class_name, (self.class_name,), lists)

    def model_and_inputs(self) -> tuple[nn.Module, dict[str, Any]]:
        """The model, and a batch of two for its forward."""
        torch.manual_seed(0)
        model = getattr(diffusers, self.class_name)(**self.config).eval()
        redraw(model)
        return model, {name: _drawn(shape) for name, shape in self.inputs.items()}


def _drawn(shape: Any) -> Any:
    """Random numbers of a shape, or of each shape in a list; a tensor is what it is."""
    if isinstance(shape, torch.Tensor):
        return shape
    return [_drawn(each) for each in shape] if isinstance(shape, list) else torch.randn(shape)


TIMES = torch.tensor([300.0, 800.0])
REAL = torch.ones(2, TEXT, dtype=torch.bool)
CASES = {
    "wan": Case(
        "WanTransformer3DModel",
        {
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "in_channels": 4,
            "out_channels": 4,
            "text_dim": 16,
            "ffn_dim": 32,
            "num_layers": 4,
            "rope_max_seq_len": 32,
        },
        {"blocks": ALONE},
        {
            "hidden_states": (2, 4, 1, 8, 8),
            "encoder_hidden_states": (2, TEXT, 16),
            "timestep": TIMES,
        },
    ),
    "sana": Case(
        "SanaTransformer2DModel",
        {
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 4,
            "attention_head_dim": 4,
            "num_attention_heads": 2,
            "num_cross_attention_heads": 2,
            "cross_attention_head_dim": 4,
            "cross_attention_dim": 8,
            "caption_channels": 8,
            "sample_size": 8,
        },
        {"transformer_blocks": ALONE},
        {"hidden_states": (2, 4, 8, 8), "encoder_hidden_states": (2, TEXT, 8), "timestep": TIMES},
    ),
    "hunyuan_video": Case(
        "HunyuanVideoTransformer3DModel",
        {
            "in_channels": 4,
            "out_channels": 4,
            "num_attention_heads": 2,
            "attention_head_dim": 10,
            "num_layers": 4,
            "num_single_layers": 4,
            "num_refiner_layers": 1,
            "patch_size": 1,
            "guidance_embeds": False,
            "text_embed_dim": 16,
            "pooled_projection_dim": 8,
            "rope_axes_dim": (2, 4, 4),
        },
        {"transformer_blocks": IMAGE_FIRST_OUT, "single_transformer_blocks": IMAGE_FIRST_OUT},
        {
            "hidden_states": (2, 4, 1, 4, 4),
            "timestep": TIMES,
            "encoder_hidden_states": (2, TEXT, 16),
            "encoder_attention_mask": REAL,
            "pooled_projections": (2, 8),
        },
    ),
    "cogview4": Case(
        "CogView4Transformer2DModel",
        {
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 4,
            "attention_head_dim": 4,
            "num_attention_heads": 4,
            "text_embed_dim": 8,
            "time_embed_dim": 8,
            "condition_dim": 4,
        },
        {"transformer_blocks": IMAGE_FIRST_OUT},
        {
            "hidden_states": (2, 4, 8, 8),
            "encoder_hidden_states": (2, TEXT, 8),
            "timestep": TIMES,
            "original_size": torch.full((2, 2), 8.0),
            "target_size": torch.full((2, 2), 8.0),
            "crop_coords": torch.zeros(2, 2),
        },
    ),
    "lumina2": Case(
        "Lumina2Transformer2DModel",
        {
            "sample_size": 8,
            "in_channels": 4,
            "hidden_size": 24,
            "num_layers": 4,
            "num_refiner_layers": 2,
            "num_attention_heads": 3,
            "num_kv_heads": 1,
            "multiple_of": 2,
            "axes_dim_rope": (4, 2, 2),
            "axes_lens": (64, 64, 64),
            "cap_feat_dim": 32,
        },
        {"noise_refiner": ALONE, "layers": ALONE},
        {
            "hidden_states": (2, 4, 8, 8),
            "timestep": torch.tensor([0.3, 0.8]),
            "encoder_hidden_states": (2, TEXT, 32),
            "encoder_attention_mask": REAL,
        },
    ),
    "z_image": Case(
        "ZImageTransformer2DModel",
        {
            "in_channels": 16,
            "dim": 16,
            "n_layers": 4,
            "n_refiner_layers": 2,
            "n_heads": 1,
            "n_kv_heads": 1,
            "cap_feat_dim": 16,
            "axes_dims": [8, 4, 4],
            "axes_lens": [256, 32, 32],
        },
        {
            path: Streams(image_in="x", text_in=None, image_out=None, text_out=None)
            for path in ("noise_refiner", "layers")
        },
        {
            "x": [(16, 1, 8, 8)] * 2,
            "t": torch.tensor([0.3, 0.8]),
            "cap_feats": [(TEXT, 16)] * 2,
        },
    ),
}
