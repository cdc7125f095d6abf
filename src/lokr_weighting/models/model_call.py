"""How a family's model itself is run on batches that were encoded already, without its pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from lokr_weighting.models.family import NOTHING_UNKNOWN


@dataclass(frozen=True)
class ModelCall:
    """The arguments of a model's forward, and what training loops call them in their batches.

    Attributes:
        arguments: an argument that is needed -> its usual names, the first that is there counts.
        mask: usual names of what marks the caption's real tokens, (batch, tokens); may be missing.
        mask_argument: the forward's argument for it; None: the model is not told, the probe is.
        timestep: what the model calls pure noise: 1000, 1, or, where it counts the other way round,
            0 (and no noise 1).
        scale: the configuration's key of a number that the timestep is multiplied with.
        latents: what becomes of (batch, channels, height, width), by name in
            `measure.known_forward`.
        given: further arguments, by name in `measure.known_forward`.
        refused: what of the model's configuration must not be set -> why.
    """

    __pydantic_config__: ClassVar = NOTHING_UNKNOWN

    arguments: Mapping[str, tuple[str, ...]]
    mask: tuple[str, ...] = ()
    mask_argument: str | None = None
    timestep: Literal[0, 1, 1000] = 1
    scale: str | None = None
    latents: str = "image"
    given: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
