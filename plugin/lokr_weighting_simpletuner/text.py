"""Which of a sample's text tokens are real: SimpleTuner's mask, or what its tokenizers say."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from lokr_weighting.data.padding import real_tokens, text_parts, token_mask
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.layouts import tells_padding
from lokr_weighting.models.family import Family
from lokr_weighting.models.table import REGISTERED, family_files
from lokr_weighting_simpletuner.longcat import real_tokens as longcat_tokens

OWN: dict[str, Callable[[Any, Sequence[str]], Tensor]] = {"longcat_image": longcat_tokens}
"""A model_family that tokenizes in a way of its own -> what tells its real tokens, from its
tokenizer and the captions."""
CLIP_TOKENS = 77  # SimpleTuner pads CLIP's text to no other length


def text_mask(trainer: Any, prepared: dict[str, Any], family: Family) -> Tensor | None:
    """Which text tokens of a prepared batch are no padding, (batch, tokens).

    Args:
        trainer: SimpleTuner's trainer.
        prepared: its prepared batch.
        family: the model's family.

    Returns:
        the mask; None where the model's own call tells, where the text is no stream, or where
        nothing tells of a family that was registered.

    Raises:
        LokrWeightingError: nothing tells of a family of the table.
    """
    if tells_padding(family) or not _has_text(family):
        return None
    embeddings = prepared["encoder_hidden_states"]
    mask = prepared.get("encoder_attention_mask")
    if mask is not None:
        return token_mask(mask, embeddings).bool()
    model_family, captions = trainer.config.model_family, prepared.get("prompts")
    own_way = OWN.get(model_family)
    if own_way is not None and captions is not None:
        tokenizer = _loaded(trainer.model)["tokenizer"]
        return own_way(tokenizer, [caption or "" for caption in captions])
    parts = _tokenizers(model_family)
    if not parts or captions is None:
        if family in REGISTERED:
            return None
        raise LokrWeightingError(
            f"{family.name}: SimpleTuner's batch has no encoder_attention_mask, so that its "
            "captions' padding cannot be told from their tokens: make its text embeds anew "
            "(an empty cache_dir of the text_embeds data set)"
        )
    tokenizers = _loaded(trainer.model)
    own = [[tokenizers[name] for name in names] for names in parts]
    return real_tokens(
        text_parts(own, CLIP_TOKENS, embeddings.shape[1]),
        [caption or "" for caption in captions],
    )


def _has_text(family: Family) -> bool:
    """Whether the text is a stream of a family's blocks."""
    return any(blocks.streams.text_in or blocks.streams.joined for blocks in family.lists)


def _tokenizers(model_family: str) -> tuple[tuple[str, ...], ...]:
    """The names of the tokenizers of each part of a family's text, as its pipelines call them."""
    for file in family_files():
        if file.simpletuner is not None and file.simpletuner.model_family == model_family:
            return next((call.tokenizers for call in file.pipelines.values()), ())
    return ()


def _loaded(model: Any) -> dict[str, Any]:
    """SimpleTuner's tokenizers by their names in a pipeline; loaded where it let go of them."""
    if not model.tokenizers:
        model.load_text_tokenizer()
    return {
        "tokenizer" if place == 0 else f"tokenizer_{place + 1}": tokenizer
        for place, tokenizer in enumerate(model.tokenizers)
    }
