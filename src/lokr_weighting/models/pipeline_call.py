"""How a class of diffusers pipelines encodes images and captions, and runs its model once.

What differs between pipelines is data here. Where it takes code, a row names one of the small
functions of `data.latents`, `measure.packings` and `measure.objectives`; a call that a user
registers may hold a function of its own instead of a name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.family import NOTHING_UNKNOWN

Named = TypeVar("Named")


@dataclass(frozen=True)
class PipelineCall:
    """How one class of pipelines encodes an image and a caption and is called without guidance.

    Attributes:
        encode: arguments of `encode_prompt` beside the prompt.
        defaults: arguments of `encode_prompt` that take the defaults of the call's, where these are
            others.
        returned: the call's argument that each returned value is handed to; None: not needed.
        call: further arguments of the call.
        mask: the returned argument that marks real tokens, where there is one; where it comes back
            as None, all tokens are real.
        text: the returned argument that holds the caption's tokens, (1, tokens, width) or a list.
        joining: a returned argument -> how those of several captions become one, by name in
            `data.captions`, where they do not lie along the first side.
        masked_by: where there is none: the text encoder that is itself called with such a mask, or
            those whose tokens stand behind each other in the text.
        tokenizers: where there is none either: the tokenizers of each part of the text, in order.
        latents: how pixels become latents, by name in `data.latents`, or a function of the pipeline
            and (1, 3, height, width) that gives (1, channels, height, width); with `temporal` of
            (1, 3, frames, height, width) too.
        packing: how latents are handed over and come back, by name in `measure.packings`, or a
            `Packing`.
        objective: how latents are noised and what the model is to predict, by name in
            `measure.objectives`, or a function of the pipeline that gives an `Objective`.
        scale: the pipeline's attribute that says how many pixels are on a latent's side.
        temporal: the pipeline's attribute that says how many frames of a video one of its latents'
            is, after the first; None: a model of images.
        patch: how many latents the sides of images must be multiples of.
        sizing: how the call is held to an image's size, by name in `measure.sizing`, or a function
            of the pipeline, width and height that gives attributes; None: it runs at the size that
            it is told.
        within: whether no image may have more pixels than a square one.
        resolution: the side of square images in pixels where the model's configuration says none.
        scaled_timesteps: whether the model's `timestep` is in proportion to the share of noise; the
            timesteps of a batch are then scaled from a common one, and rounded once.
        loss_by_step: whether a sample's loss alone is taken from what one step makes of its
            latents, which is the same but for rounding: as in earlier versions.
        draw: further arguments when images are drawn.
        refused: what of the pipeline's index must not be there -> why, and what to do.
    """

    __pydantic_config__: ClassVar = NOTHING_UNKNOWN

    returned: tuple[str | None, ...]
    encode: Mapping[str, Any] = field(default_factory=dict)
    defaults: tuple[str, ...] = ()
    call: Mapping[str, Any] = field(default_factory=dict)
    mask: str | None = None
    text: str = "prompt_embeds"
    joining: Mapping[str, str] = field(default_factory=dict)
    masked_by: str | tuple[str, ...] | None = None
    tokenizers: tuple[tuple[str, ...], ...] = ()
    latents: str | Callable[..., Any] = "scaled"
    packing: Any = "image"
    objective: str | Callable[..., Any] = "flow matching"
    scale: str = "vae_scale_factor"
    temporal: str | None = None
    patch: int = 2
    sizing: str | Callable[..., Any] | None = None
    within: bool = False
    resolution: int | None = None
    scaled_timesteps: bool = False
    loss_by_step: bool = False
    draw: Mapping[str, Any] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


def named(table: Mapping[str, Named], what: str, choice: Any) -> Named:
    """What a row names, or the row's own.

    Raises:
        LokrWeightingError: there is nothing of that name.
    """
    if not isinstance(choice, str):
        return choice
    if choice not in table:
        raise LokrWeightingError(
            f"a pipeline's {what} = {choice!r}: use one of {', '.join(map(repr, table))}"
        )
    return table[choice]
