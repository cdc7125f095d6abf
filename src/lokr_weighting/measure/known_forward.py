"""The forward of the known families on batches of latents and embeddings, without a pipeline."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from lokr_weighting.data.padding import token_mask
from lokr_weighting.digests import short_digest
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.forward import noise_of
from lokr_weighting.measure.known_arguments import GIVEN, OWN, PACKED, Run
from lokr_weighting.measure.objectives import OBJECTIVES, NoiseSchedule
from lokr_weighting.models.identity import sampled_parts
from lokr_weighting.models.pipeline_call import named
from lokr_weighting.models.table import model_calls

LATENTS = "latents"
"""What batches call the images, clean and scaled as the model's pipeline scales them."""
FLOW = "flow matching"
TEXT = "encoder_hidden_states"


class KnownForward:
    """Noises a batch's latents and runs the model once, as its pipeline would without guidance.

    Batches are dictionaries with `latents`, (batch, channels, height, width), of videos (batch,
    channels, frames, height, width), and what the family's `ModelCall` names; further keys do not
    count.

    Args:
        model: a transformer or UNet of a known family.
        scheduler: the noise scheduler of its pipeline or training loop, where the model is noised
            by a schedule, which is not kept with it.

    Raises:
        LokrWeightingError: how such a model is run is not known, it wants a scheduler, or wants
            none.
    """

    def __init__(self, model: nn.Module, scheduler: Any = None) -> None:
        name, calls = type(model).__name__, model_calls()
        if name not in calls:
            raise LokrWeightingError(
                f"{name}: how it is run on a batch is known for {', '.join(sorted(calls))}; {OWN}"
            )
        self.model, self.call = model, calls[name]
        self.config: Any = model.config
        for key, why in self.call.refused.items():
            if self.config.get(key):
                raise LokrWeightingError(f"{name}: {key} is set in its configuration: {why}; {OWN}")

        scheduled = self.call.objective != FLOW
        if scheduled and scheduler is None:
            raise LokrWeightingError(
                f"{name} is noised by a schedule that is not kept with it: give calibrate(..., "
                f"scheduler=), the noise scheduler of its pipeline or training loop; or {OWN}"
            )
        if not scheduled and scheduler is not None:
            raise LokrWeightingError(
                f"scheduler = {type(scheduler).__name__}: {name} is noised by flow matching, "
                "whatever the scheduler: leave it out"
            )
        made = named(OBJECTIVES, "objective", self.call.objective)
        self.objective = made(SimpleNamespace(scheduler=scheduler))

    @property
    def settings(self) -> dict[str, Any]:
        """What a calibration is of, beside the model and the batches."""
        own = {"forward": "the family's own"}
        if not isinstance(self.objective, NoiseSchedule):
            return own
        noise = self.objective.schedule.alphas_cumprod
        return {**own, "schedule": short_digest(sampled_parts(noise))}

    def __call__(self, batch: Any, timesteps: Tensor, noise_seeds: Sequence[int]) -> None:
        """Run the model.

        Args:
            batch: a dictionary of tensors.
            timesteps: the shares of noise, (batch,) in (0, 1), on the model's device.
            noise_seeds: what decides each sample's noise, (batch,).

        Raises:
            LokrWeightingError: the batch is no dictionary, or lacks something; names it.
        """
        clean = self._moved(_found(batch, LATENTS, (LATENTS,)))
        if clean.ndim != 4 and not (clean.ndim == 5 and self.call.latents == "frames"):
            raise LokrWeightingError(
                f"a batch's {LATENTS} have the shape {list(clean.shape)}; (batch, channels, "
                f"height, width) is wanted; or {OWN}"
            )
        noise = torch.stack([noise_of(seed, clean[0]) for seed in noise_seeds]).to(clean)
        noised = self.objective.noised(clean, noise, timesteps)
        call = self.call
        arguments: dict[str, Any] = {
            argument: self._moved(_found(batch, argument, names))
            for argument, names in call.arguments.items()
        }
        if call.mask_argument is not None:
            arguments[call.mask_argument] = self.mask(batch)
        run = Run(self.config, noised, arguments, partial(self._taken, batch))
        given = [GIVEN[name](run) for name in call.given]
        for each in given:
            arguments |= each
        self.model(
            **{
                call.latents_argument: PACKED[call.latents](self.config, noised),
                call.timestep_argument: self._counted(timesteps),
            },
            **arguments,
            return_dict=False,
        )

    def mask(self, batch: Any) -> Tensor | None:
        """Which caption tokens of a batch are real, (batch, tokens), on the device, where it says.

        A mask of fewer tokens than the text is of its last, as in SD3, where T5's come last.

        Raises:
            LokrWeightingError: the batch is no dictionary, or has no text.
        """
        name = _name_in(batch, self.call.mask)
        if name is None:
            return None
        text = _found(batch, TEXT, self.call.arguments[TEXT])
        mask = batch[name].to(self._device)
        whole = mask.numel() % text.shape[:2].numel() == 0
        return token_mask(mask, text) if whole else mask

    @property
    def text_mask(self) -> Callable[[Any], Tensor | None] | None:
        """`mask`, where the model's own call does not tell it."""
        told = self.call.mask_argument or {*self.call.mask} & {*self.call.arguments}
        return None if told else self.mask

    def _taken(self, batch: Any, what: str, names: Sequence[str], needed: bool) -> Any:
        """What a batch has under one of these names, moved; None where it need not be there."""
        if not needed and _name_in(batch, names) is None:
            return None
        return self._moved(_found(batch, what, names))

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _moved(self, tensor: Any) -> Any:
        """On the model's device and, numbers with a point, in its dtype; each of a list."""
        if isinstance(tensor, list | tuple):
            return [self._moved(each) for each in tensor]
        dtype: Any = self.model.dtype
        return tensor.to(self._device, dtype if tensor.is_floating_point() else None)

    def _counted(self, timesteps: Tensor) -> Tensor:
        """Shares of noise as the model counts them; in float32, which each rounds as it needs."""
        if self.call.objective != FLOW:
            return self.objective.timesteps(timesteps)
        if self.call.timestep < 0:
            return (1000 - timesteps * 1000) / 1000
        counted = 1 - timesteps if self.call.timestep == 0 else timesteps * self.call.timestep
        if self.call.scale is not None:
            counted = counted * self.config[self.call.scale]
        return counted


def _name_in(batch: Any, names: Sequence[str]) -> str | None:
    """The first of these names that a batch has."""
    if not isinstance(batch, Mapping):
        raise LokrWeightingError(
            f"a batch is a {type(batch).__name__}; without a forward of your own a dictionary with "
            f"{LATENTS} and the captions' embeddings is wanted; or {OWN}"
        )
    return next((name for name in names if batch.get(name) is not None), None)


def _found(batch: Any, what: str, names: Sequence[str]) -> Any:
    """What a batch has under one of these names."""
    name = _name_in(batch, names)
    if name is None:
        raise LokrWeightingError(
            f"a batch has no {what} (called {' or '.join(names)}); it has "
            f"{', '.join(map(str, batch)) or 'nothing'}; or {OWN}"
        )
    return batch[name]
