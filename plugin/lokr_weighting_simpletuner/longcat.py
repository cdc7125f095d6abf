"""LongCat-Image's captions, filled up to one length: SimpleTuner's batch does not say where."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

CPU = torch.device("cpu")


class _Attended(nn.Module):
    """Stands where the text encoder stands, and gives back which tokens it should attend to."""

    device = CPU

    def forward(
        self,
        input_ids: Tensor,  # noqa: ARG002
        attention_mask: Tensor,
        output_hidden_states: bool,  # noqa: ARG002
    ) -> SimpleNamespace:
        return SimpleNamespace(hidden_states=[attention_mask[..., None]])


def real_tokens(tokenizer: Any, captions: Sequence[str]) -> Tensor:
    """Which tokens of captions are real, (batch, tokens) of bool, by SimpleTuner's own pipeline.

    Args:
        tokenizer: SimpleTuner's tokenizer of the family.
        captions: a batch of captions.
    """
    from simpletuner.helpers.models.longcat_image.pipeline import LongCatImagePipeline

    pipeline: Any = LongCatImagePipeline(None, None, _Attended(), tokenizer, None, None)  # pyright: ignore
    # it reads the first caption alone
    attended = [pipeline.encode_prompt([each], CPU, torch.float64)[0] for each in captions]
    return torch.cat(attended)[..., 0].bool()
