"""The models whose text is cross-attended: the image alone is a stream."""

from functools import partial

from tests.families import inputs
from tests.families.kind import (
    DOUBLE,
    IMAGE_TEXT,
    MASKED,
    ONE_LIST,
    Tiny,
)
from tests.families.slow import image_alone

WAN = {
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 32,
    "freq_dim": 16,
    "ffn_dim": 48,
    "rope_max_seq_len": 64,
    **ONE_LIST,
}
CROSS = {"in_channels": 4, "out_channels": 4, "cross_attention_dim": 32, **ONE_LIST}
COGVIEW = {
    "in_channels": 4,
    "out_channels": 4,
    "text_embed_dim": 32,
    "time_embed_dim": 16,
    "condition_dim": 8,
    "pos_embed_max_size": 16,
    "sample_size": 8,
    **ONE_LIST,
}

ALONE: dict[str, Tiny] = {
    "WanTransformer3DModel": Tiny(WAN, partial(inputs.video, 4), {"blocks": image_alone()}),
    "ChronoEditTransformer3DModel": Tiny(
        WAN, partial(inputs.video, 4, frames=2), {"blocks": image_alone()}
    ),
    "SkyReelsV2Transformer3DModel": Tiny(WAN, partial(inputs.video, 4), {"blocks": image_alone()}),
    "LTXVideoTransformer3DModel": Tiny(
        {
            "in_channels": 16,
            "out_channels": 16,
            "caption_channels": 32,
            "cross_attention_dim": 32,
            **ONE_LIST,
        },
        inputs.ltx,
        {DOUBLE: image_alone()},
    ),
    "LTX2VideoTransformer3DModel": Tiny(
        {
            "in_channels": 8,
            "out_channels": 8,
            "cross_attention_dim": 32,
            "audio_in_channels": 8,
            "audio_out_channels": 8,
            "audio_num_attention_heads": 2,
            "audio_attention_head_dim": 8,
            "audio_cross_attention_dim": 16,
            "caption_channels": 32,
            **ONE_LIST,
        },
        inputs.ltx2,
        {DOUBLE: image_alone(place=0)},
    ),
    "PixArtTransformer2DModel": Tiny(
        {"sample_size": 8, "caption_channels": 32, "norm_num_groups": 4, **CROSS},
        inputs.pixart,
        {DOUBLE: image_alone()},
    ),
    "SanaTransformer2DModel": Tiny(
        {
            "num_cross_attention_heads": 2,
            "cross_attention_head_dim": 16,
            "caption_channels": 32,
            "sample_size": 8,
            **CROSS,
        },
        inputs.sana,
        {DOUBLE: image_alone()},
    ),
    "SanaVideoTransformer3DModel": Tiny(
        {
            "num_cross_attention_heads": 2,
            "cross_attention_head_dim": 16,
            "caption_channels": 32,
            "rope_max_seq_len": 64,
            **CROSS,
        },
        partial(inputs.video, 4, frames=2, encoder_attention_mask=inputs.mask().long()),
        {DOUBLE: image_alone()},
    ),
    "CosmosTransformer3DModel": Tiny(
        {
            "in_channels": 4,
            "out_channels": 4,
            "text_embed_dim": 32,
            "adaln_lora_dim": 8,
            "max_size": (8, 16, 16),
            **ONE_LIST,
        },
        inputs.cosmos,
        {DOUBLE: image_alone()},
    ),
    "AllegroTransformer3DModel": Tiny(
        {
            "sample_height": 8,
            "sample_width": 12,
            "sample_frames": 1,
            "caption_channels": 32,
            "attention_head_dim": 24,
            "num_attention_heads": 2,
            "num_layers": 2,
            "cross_attention_dim": 48,
        },
        inputs.allegro,
        {DOUBLE: image_alone()},
    ),
    "PRXTransformer2DModel": Tiny(
        {
            "in_channels": 4,
            "context_in_dim": 32,
            "hidden_size": 32,
            "num_heads": 2,
            "depth": 2,
            "axes_dim": [8, 8],
        },
        inputs.prx,
        {"blocks": image_alone()},
    ),
    "CogView4Transformer2DModel": Tiny(
        COGVIEW | {"rope_axes_dim": (16, 16)},
        partial(inputs.cogview, attention_mask=inputs.mask().long()),
        {DOUBLE: IMAGE_TEXT},
        text=MASKED,
    ),
    "CogView3PlusTransformer2DModel": Tiny(COGVIEW, inputs.cogview, {DOUBLE: IMAGE_TEXT}),
    "CogVideoXTransformer3DModel": Tiny(
        {
            "in_channels": 4,
            "out_channels": 4,
            "time_embed_dim": 16,
            "text_embed_dim": 32,
            "sample_width": 12,
            "sample_height": 8,
            "sample_frames": 1,
            "max_text_seq_length": 12,
            **ONE_LIST,
        },
        inputs.cogvideox,
        {DOUBLE: IMAGE_TEXT},
    ),
}
