"""How each class of diffusers pipelines is called: one row of a table for each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lokr_weighting.errors import LokrWeightingError


@dataclass(frozen=True)
class Way:
    """How one class of pipelines encodes a caption and is called without guidance.

    Attributes:
        encode: arguments of `encode_prompt` beside the prompt.
        returned: the call's argument that each returned value is handed to; None: not needed.
        call: further arguments of the call.
        mask: the returned argument that marks real tokens, where there is one.
        packed: whether latents are handed over in 2x2 patches.
    """

    encode: Mapping[str, Any]
    returned: tuple[str | None, ...]
    call: Mapping[str, Any]
    mask: str | None = None
    packed: bool = False


WAYS: dict[str, Way] = {
    "StableDiffusion3Pipeline": Way(
        encode={"prompt_2": None, "prompt_3": None, "do_classifier_free_guidance": False},
        returned=("prompt_embeds", None, "pooled_prompt_embeds", None),
        call={"guidance_scale": 1.0},
    ),
    "FluxPipeline": Way(
        encode={"prompt_2": None},
        returned=("prompt_embeds", "pooled_prompt_embeds", None),
        call={"guidance_scale": 1.0},
        packed=True,
    ),
    "AuraFlowPipeline": Way(
        encode={"do_classifier_free_guidance": False},
        returned=("prompt_embeds", "prompt_attention_mask", None, None),
        call={"guidance_scale": 1.0},
        mask="prompt_attention_mask",
    ),
}


def way_of(pipeline_class: str) -> Way:
    """The table's row for a class of pipelines.

    Raises:
        LokrWeightingError: there is none; names those there are.
    """
    if pipeline_class not in WAYS:
        raise LokrWeightingError(
            f"{pipeline_class} is not among the pipelines that can be run here "
            f"({', '.join(WAYS)}); with a loop of your own use lokr_weighting.calibrate"
        )
    return WAYS[pipeline_class]
