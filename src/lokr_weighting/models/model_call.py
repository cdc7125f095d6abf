"""How a family's model itself is run on batches that were encoded already, without its pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from lokr_weighting.models.family import NOTHING_UNKNOWN


@dataclass(frozen=True)
class ModelCall:
    """The arguments of a model's forward, and what training loops call them in their batches.

    Attributes:
        classes: the family's classes that are run so; none named: all.
        arguments: an argument that is needed -> its usual names, the first that is there counts.
        mask: usual names of what marks the caption's real tokens, (batch, tokens); may be missing.
        mask_argument: the forward's argument for it; None: the model is not told, the probe is.
        objective: how latents are noised, by name in `measure.objectives`; a schedule's timesteps
            are what the model counts.
        timestep: what a model of flow matching calls pure noise: 1000, 1, or, where it counts the
            other way round, 0 (and no noise 1); -1000 where the pipeline counts back so from
            1000, which is rounded otherwise.
        scale: the configuration's key of a number that the timestep is multiplied with.
        latents: what becomes of (batch, channels, height, width), by name in
            `measure.known_arguments`.
        latents_argument: the forward's argument for them.
        timestep_argument: the forward's argument for the timestep.
        given: further arguments, by name in `measure.known_arguments`.
        refused: what of the model's configuration must not be set -> why.
    """

    __pydantic_config__: ClassVar = NOTHING_UNKNOWN

    arguments: Mapping[str, tuple[str, ...]]
    classes: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    mask_argument: str | None = None
    objective: str = "flow matching"
    timestep: Literal[-1000, 0, 1, 1000] = 1
    scale: str | None = None
    latents: str = "image"
    latents_argument: str = "hidden_states"
    timestep_argument: str = "timestep"
    given: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
