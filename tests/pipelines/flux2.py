"""FLUX.2, dev and Klein: latents normalised by running statistics, one class of transformers."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLFlux2,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
)
from transformers import (
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PixtralImageProcessor,
    PixtralProcessor,
    PreTrainedTokenizerFast,
    Qwen3ForCausalLM,
)

from tests.pipelines.parts import (
    CHANNELS,
    HEADS,
    LAYERS,
    TEXT_WIDTH,
    flow,
    qwen3_config,
    qwen_tokenizer,
)

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}<|im_end|>\n{% endfor %}"
)


def flux2() -> Flux2Pipeline:
    """Two double and two single blocks, the guidance scale as an input."""
    text: dict[str, Any] = {**LAYERS, "model_type": "mistral", "vocab_size": 300}
    vision: dict[str, Any] = {
        "model_type": "pixtral",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 8,
        "image_size": 16,
        "patch_size": 8,
    }
    config = Mistral3Config(
        text_config={**text, "num_hidden_layers": 31}, vision_config=vision, image_token_index=4
    )
    inner = qwen_tokenizer()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner.backend_tokenizer, pad_token="<|endoftext|>", padding_side="left"
    )
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["[IMG]", "[IMG_BREAK]", "[IMG_END]"]}  # pyright: ignore
    )
    return Flux2Pipeline(
        scheduler=flow(),
        vae=vae(),
        text_encoder=Mistral3ForConditionalGeneration(config),
        tokenizer=PixtralProcessor(
            PixtralImageProcessor(), tokenizer, patch_size=8, chat_template=CHAT
        ),  # pyright: ignore[reportArgumentType]
        transformer=transformer(guidance=True),
    )


def klein() -> Flux2KleinPipeline:
    """The same without guidance, its text by Qwen 3."""
    return Flux2KleinPipeline(
        scheduler=flow(),
        vae=vae(),
        text_encoder=Qwen3ForCausalLM(qwen3_config(layers=28)),
        tokenizer=qwen_tokenizer(),  # pyright: ignore[reportArgumentType]
        transformer=transformer(guidance=False),
    )


def transformer(guidance: bool) -> Flux2Transformer2DModel:
    return Flux2Transformer2DModel(
        in_channels=4 * CHANNELS,
        num_layers=2,
        num_single_layers=2,
        joint_attention_dim=3 * TEXT_WIDTH,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance,
        **HEADS,
    )


def vae() -> AutoencoderKLFlux2:
    settings: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (8, 8, 16, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "latent_channels": CHANNELS,
    }
    made = AutoencoderKLFlux2(**settings)
    made.bn.running_mean = torch.randn(4 * CHANNELS)
    made.bn.running_var = torch.rand(4 * CHANNELS) + 0.5
    return made
