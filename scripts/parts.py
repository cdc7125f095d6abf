"""What the two small pipelines have alike: their tokenizers, how they start, how they are saved."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from transformers import CLIPTokenizer, T5Tokenizer


def clip_tokenizer(words: Iterable[list[str]], length: int) -> CLIPTokenizer:
    """Return a CLIP tokenizer that knows some words and spells out all others.

    Args:
        words: each word's pieces, merged in this order; the last ends in "</w>".
        length: the most tokens of a caption.
    """
    letters = sorted(ByteLevel.alphabet())
    merges = []
    for start, *rest in words:
        for piece in rest:
            if (start, piece) not in merges:
                merges.append((start, piece))
            start += piece
    tokens = letters + [letter + "</w>" for letter in letters]
    tokens += dict.fromkeys(a + b for a, b in merges)
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=length)


def pieces_of(word: str) -> list[str]:
    """Return a word's letters, the last marked as its end."""
    return [*word[:-1], word[-1] + "</w>"]


def t5_tokenizer(words: Iterable[str], length: int) -> T5Tokenizer:
    """Return a T5 tokenizer that knows some words and spells out all others."""
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    vocabulary += [("▁" + word, -4.0) for word in words]
    vocabulary += [(chr(code), -8.0) for code in range(ord("!"), ord("~") + 1)]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=length)


def start_as_identity(transformer: Any) -> None:
    """Let every block of an SD3 transformer give back what it gets, and its end give nothing."""
    modulations = [transformer.norm_out.linear, transformer.proj_out]
    for block in transformer.transformer_blocks:
        modulations += [block.norm1.linear, block.norm1_context.linear]
    for layer in modulations:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


def save(pipeline: Any, folder: Path) -> None:
    """Write the diffusers folder, with CLIP's vocabulary and merges as files of their own too."""
    pipeline.save_pretrained(folder)
    for tokenizer in ("tokenizer", "tokenizer_2"):
        pipeline.tokenizer.backend_tokenizer.model.save(str(folder / tokenizer))
