"""Inputs of the small models: a batch of two, images not square, captions of two lengths."""

from typing import Any

import torch
from torch import Tensor

from tests.families.slow import Real

BATCH, TEXT = 2, 12
REAL_TEXT = [range(5), range(12)]
"""The caption tokens that count, where captions are padded behind."""
GRID = 4, 6  # tokens of an image
IMAGE = GRID[0] * GRID[1]
TIMES = (0.3, 0.8)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape)


def mask(real: Real = REAL_TEXT, length: int = TEXT) -> Tensor:
    """(batch, length) of bool, True where tokens are real."""
    assert real is not None
    return torch.tensor([[place in own for place in range(length)] for own in real])


def grid_ids(axes: int, first: float = 0.0) -> Tensor:
    """Position ids of an image's tokens, (tokens, axes)."""
    rows, columns = torch.meshgrid(*(torch.arange(size) for size in GRID), indexing="ij")
    ids = torch.zeros(IMAGE, axes)
    ids[:, 0], ids[:, 1], ids[:, 2] = first, rows.flatten(), columns.flatten()
    return ids


def packed(channels: int, width: int = 32, ids: int | None = 3, **more: Any) -> dict[str, Any]:
    """Inputs of Flux's kind: latents in a row, and ids."""
    given: dict[str, Any] = {
        "hidden_states": normal(BATCH, IMAGE, channels),
        "encoder_hidden_states": normal(BATCH, TEXT, width),
        "timestep": torch.tensor(TIMES),
    }
    if ids is not None:
        given |= {"img_ids": grid_ids(ids), "txt_ids": torch.zeros(TEXT, ids)}
    return given | more


def video(channels: int, frames: int = 1, width: int = 32, **more: Any) -> dict[str, Any]:
    """Inputs of video models: 5-D latents of patches of 2x2."""
    return {
        "hidden_states": normal(BATCH, channels, frames, 2 * GRID[0], 2 * GRID[1]),
        "encoder_hidden_states": normal(BATCH, TEXT, width),
        "timestep": torch.tensor(TIMES) * 1000,
    } | more


def latents(channels: int, width: int = 32, **more: Any) -> dict[str, Any]:
    """Inputs of image models: 4-D latents of patches of 2x2."""
    given = video(channels, width=width)
    return given | {"hidden_states": given["hidden_states"][:, :, 0]} | more


def qwen() -> dict[str, Any]:
    # a reference image behind the one that is made, as Qwen-Image-Edit has
    given = packed(16, ids=None, encoder_hidden_states_mask=mask().long())
    given["hidden_states"] = normal(BATCH, 2 * IMAGE, 16)
    return given | {"img_shapes": [[(1, *GRID), (1, *GRID)]] * BATCH}


def flux2() -> dict[str, Any]:
    given = packed(16, ids=4, guidance=torch.ones(BATCH))
    given["hidden_states"] = normal(BATCH, 2 * IMAGE, 16)
    ids = torch.cat([grid_ids(4), grid_ids(4, first=10.0)])
    return given | {"img_ids": ids, "txt_ids": torch.zeros(TEXT, 4)}


def chroma() -> dict[str, Any]:
    whole = torch.cat([mask(), torch.ones(BATCH, IMAGE, dtype=torch.bool)], dim=1)
    return packed(16, attention_mask=whole)


def z_image() -> dict[str, Any]:
    return {
        "x": [normal(8, 1, 8, 12), normal(8, 1, 16, 12)],
        "t": torch.tensor(TIMES),
        "cap_feats": [normal(37, 32), normal(12, 32)],
    }


def lumina2() -> dict[str, Any]:
    return latents(4, encoder_attention_mask=mask()) | {"timestep": torch.tensor(TIMES)}


def hidream() -> dict[str, Any]:
    given = latents(4)
    return {
        "hidden_states": given["hidden_states"],
        "timesteps": given["timestep"],
        "encoder_hidden_states_t5": normal(BATCH, 5, 32),
        "encoder_hidden_states_llama3": normal(4, BATCH, 7, 32),
        "pooled_embeds": normal(BATCH, 16),
    }


def ernie() -> dict[str, Any]:
    return {
        "hidden_states": normal(BATCH, 8, *GRID),
        "timestep": torch.tensor(TIMES) * 1000,
        "text_bth": normal(BATCH, TEXT, 32),
        "text_lens": torch.tensor([5, 12]),
    }


def krea2() -> dict[str, Any]:
    positions = torch.cat([torch.zeros(TEXT, 3), grid_ids(3)])
    given = packed(16, ids=None, position_ids=positions, encoder_attention_mask=mask())
    return given | {"encoder_hidden_states": normal(BATCH, TEXT, 2, 32)}


def omnigen() -> dict[str, Any]:
    length = TEXT + 1 + IMAGE
    # the shorter caption is filled up in front
    attended = torch.ones(BATCH, length, length)
    attended[0, :, : TEXT - 5] = 0
    return {
        "hidden_states": normal(BATCH, 4, 2 * GRID[0], 2 * GRID[1]),
        "timestep": torch.tensor(TIMES),
        "input_ids": torch.randint(0, 50, (BATCH, TEXT)),
        "input_img_latents": [],
        "input_image_sizes": {},
        "attention_mask": attended,
        "position_ids": torch.arange(length).expand(BATCH, -1),
    }


def kandinsky5() -> dict[str, Any]:
    return {
        "hidden_states": normal(BATCH, 1, 2 * GRID[0], 2 * GRID[1], 4),
        "encoder_hidden_states": normal(BATCH, TEXT, 32),
        "timestep": torch.tensor(TIMES) * 1000,
        "pooled_projections": normal(BATCH, 16),
        "visual_rope_pos": [torch.arange(size) for size in (1, *GRID)],
        "text_rope_pos": torch.arange(TEXT),
    }


def bria_fibo() -> dict[str, Any]:
    return packed(16, text_encoder_layers=[normal(BATCH, TEXT, 16) for _ in range(4)])


def hunyuan_video() -> dict[str, Any]:
    given = video(4, encoder_attention_mask=mask().long(), guidance=torch.ones(BATCH) * 1000)
    return given | {"pooled_projections": normal(BATCH, 16)}


def two_captions() -> dict[str, Any]:
    return {
        "encoder_attention_mask": mask().long(),
        "encoder_hidden_states_2": normal(BATCH, 4, 16),
        "encoder_attention_mask_2": torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0]]),
    }


def hunyuan_image() -> dict[str, Any]:
    return latents(4, **two_captions())


def hunyuan_video15() -> dict[str, Any]:
    # without a first image, as text-to-video is called
    return video(4, image_embeds=torch.zeros(BATCH, 3, 16), **two_captions())


def ltx() -> dict[str, Any]:
    return {
        "hidden_states": normal(BATCH, IMAGE, 16),
        "encoder_hidden_states": normal(BATCH, TEXT, 32),
        "timestep": torch.tensor(TIMES) * 1000,
        "encoder_attention_mask": mask().long(),
        "num_frames": 1,
        "height": GRID[0],
        "width": GRID[1],
    }


def pixart() -> dict[str, Any]:
    sizes = {"resolution": torch.ones(BATCH, 2) * 8, "aspect_ratio": torch.ones(BATCH, 1)}
    return latents(4, encoder_attention_mask=mask().long(), added_cond_kwargs=sizes)


def sana() -> dict[str, Any]:
    given = latents(4, encoder_attention_mask=mask().long())
    return given | {"hidden_states": normal(BATCH, 4, *GRID)}


def cosmos() -> dict[str, Any]:
    return video(4, padding_mask=torch.zeros(1, 1, 2 * GRID[0], 2 * GRID[1]))


def allegro() -> dict[str, Any]:
    return video(4, encoder_attention_mask=mask().long())


def prx() -> dict[str, Any]:
    return latents(4) | {"timestep": torch.tensor(TIMES)}


def cogview(**more: Any) -> dict[str, Any]:
    sizes = {
        name: torch.full((BATCH, 2), 64.0)
        for name in ("original_size", "target_size", "crop_coords")
    }
    return latents(4, **sizes, **more)


def cogvideox() -> dict[str, Any]:
    given = video(4)
    return given | {"hidden_states": given["hidden_states"].transpose(1, 2)}


def ltx2() -> dict[str, Any]:
    return {
        "hidden_states": normal(BATCH, IMAGE, 8),
        "audio_hidden_states": normal(BATCH, 5, 8),
        "encoder_hidden_states": normal(BATCH, TEXT, 32),
        "audio_encoder_hidden_states": normal(BATCH, TEXT, 32),
        "timestep": torch.tensor(TIMES)[:, None] * 1000,
        "num_frames": 1,
        "height": GRID[0],
        "width": GRID[1],
        "audio_num_frames": 5,
    }
