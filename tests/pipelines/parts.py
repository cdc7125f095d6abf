"""What several small pipelines are made of: tokenizers and text encoders, from configurations."""

from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from tokenizers import pre_tokenizers
from torch import nn
from transformers import (
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
)

from tests.tiny_pipelines import CHARACTERS, numbered

TEXT_WIDTH = 32
HEADS: dict[str, Any] = {"num_attention_heads": 2, "attention_head_dim": 16}
AXES = (4, 6, 6)
CHANNELS = 4  # of latents
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LAYERS: dict[str, Any] = {
    "hidden_size": TEXT_WIDTH,
    "intermediate_size": 2 * TEXT_WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
MEAN = [0.1, -0.2, 0.3, -0.4]
STD = [1.5, 0.5, 2.0, 0.8]
VIDEO_VAE: dict[str, Any] = {
    "base_dim": 4,
    "z_dim": CHANNELS,
    "dim_mult": [1, 1, 1, 1],
    "num_res_blocks": 1,
    "latents_mean": MEAN,
    "latents_std": STD,
}
"""Of Wan's kind, which Qwen-Image has too."""


def flow() -> FlowMatchEulerDiscreteScheduler:
    """The usual scheduler, shifted: what is measured must not depend on that."""
    return FlowMatchEulerDiscreteScheduler(shift=3.0)


def qwen_tokenizer() -> Qwen2Tokenizer:
    """A Qwen tokenizer that knows single bytes and the marks of a chat."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Qwen2Tokenizer(vocab=numbered(tokens), merges=[])
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}  # pyright: ignore
    )
    tokenizer.chat_template = CHAT
    return tokenizer


def qwen3_config(layers: int) -> Qwen3Config:
    """A Qwen 3 of so many layers for that tokenizer."""
    settings: dict[str, Any] = {**LAYERS, "num_hidden_layers": layers, "vocab_size": 300}
    return Qwen3Config(**settings)


def qwen25_vl() -> Qwen2_5_VLForConditionalGeneration:
    """A Qwen 2.5 with eyes for that tokenizer."""
    vision: dict[str, Any] = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": TEXT_WIDTH,
    }
    sections = {"mrope_section": [2, 2, 4], "rope_type": "default", "rope_theta": 1e4}
    text: dict[str, Any] = {**LAYERS, "vocab_size": 300, "rope_scaling": sections}
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(text_config=text, vision_config=vision)
    )


def gemma_tokenizer() -> GemmaTokenizer:
    """A Gemma tokenizer that knows single characters and, for all others, their bytes."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", "\n"]
    some_bytes = [f"<0x{byte:02X}>" for byte in range(256)]
    return GemmaTokenizer(vocab=numbered([*special, *some_bytes, *CHARACTERS]), merges=[])


def gemma() -> Gemma2Model:
    """A two-layer Gemma 2 for that tokenizer."""
    settings: dict[str, Any] = {**LAYERS, "vocab_size": 400}
    return Gemma2Model(Gemma2Config(**settings))


@torch.no_grad()
def drawn(module: nn.Module, std: float = 0.15) -> None:
    """Draw every parameter anew: gates and modulations that begin at zero do something then."""
    for parameter in module.parameters():
        parameter.normal_(std=std)
