"""The forward of the known families on batches of latents and embeddings, without a pipeline."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from diffusers import FluxPipeline
from torch import Tensor, nn

from lokr_weighting.data.padding import token_mask
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.objectives import FlowMatching
from lokr_weighting.models.table import model_calls

LATENTS = "latents"
"""What batches call the images, clean and scaled as the model's pipeline scales them."""
TEXT = "encoder_hidden_states"
OWN = "give forward(model, batch, timesteps), which noises the batch and runs the model"


class KnownForward:
    """Noises a batch's latents and runs the model once, as its pipeline would without guidance.

    Batches are dictionaries with `latents`, (batch, channels, height, width), and what the family's
    `ModelCall` names; further keys do not count.

    Args:
        model: a transformer of a known family.

    Raises:
        LokrWeightingError: how such a model is run is not known.
    """

    def __init__(self, model: nn.Module) -> None:
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
        if clean.ndim != 4:
            raise LokrWeightingError(
                f"a batch's {LATENTS} have the shape {list(clean.shape)}; (batch, channels, "
                f"height, width) is wanted; or {OWN}"
            )
        noise = torch.stack([_noise(clean[0], seed) for seed in noise_seeds]).to(clean)
        noised = FlowMatching().noised(clean, noise, timesteps)
        call = self.call
        arguments: dict[str, Any] = {
            argument: self._moved(_found(batch, argument, names))
            for argument, names in call.arguments.items()
        }
        if call.mask_argument is not None:
            arguments[call.mask_argument] = self.mask(batch)
        for name in call.given:
            arguments |= GIVEN[name](self.config, noised, arguments[TEXT])
        self.model(
            hidden_states=PACKED[call.latents](noised),
            timestep=self._counted(timesteps),
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

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _moved(self, tensor: Tensor) -> Tensor:
        """On the model's device and, numbers with a point, in its dtype."""
        dtype: Any = self.model.dtype
        return tensor.to(self._device, dtype if tensor.is_floating_point() else None)

    def _counted(self, timesteps: Tensor) -> Tensor:
        """Shares of noise as the model counts them; in float32, which each rounds as it needs."""
        counted = 1 - timesteps if self.call.timestep == 0 else timesteps * self.call.timestep
        if self.call.scale is not None:
            counted = counted * self.config[self.call.scale]
        return counted


def _same(latents: Tensor) -> Tensor:
    return latents


def _patches(latents: Tensor) -> Tensor:
    # a static method: every family that packs so packs alike
    return FluxPipeline._pack_latents(latents, *latents.shape)


def _ids_of_patches(_config: Any, latents: Tensor, text: Tensor) -> dict[str, Any]:
    """Flux.1's places: patches by row and column, all of the text at one."""
    height, width = (side // 2 for side in latents.shape[-2:])
    place = {"device": latents.device, "dtype": latents.dtype}
    ids = FluxPipeline._prepare_latent_image_ids(len(latents), height, width, **place)
    return {"img_ids": ids, "txt_ids": torch.zeros(text.shape[1], 3, **place)}


def _guidance(config: Any, latents: Tensor, _text: Tensor) -> dict[str, Any]:
    """Guidance that is distilled into the model, at 1: none beyond it."""
    return {"guidance": torch.ones(len(latents)).to(latents) if config.guidance_embeds else None}


def _shapes_of_patches(_config: Any, latents: Tensor, _text: Tensor) -> dict[str, Any]:
    """Qwen-Image's grids: one frame of each sample's patches."""
    height, width = (side // 2 for side in latents.shape[-2:])
    return {"img_shapes": [[(1, height, width)]] * len(latents)}


PACKED: Mapping[str, Callable[[Tensor], Tensor]] = {"image": _same, "patches": _patches}
"""What a row's `latents` names: what becomes of (batch, channels, height, width)."""
GIVEN: Mapping[str, Callable[[Any, Tensor, Tensor], dict[str, Any]]] = {
    "ids of patches": _ids_of_patches,
    "guidance of 1": _guidance,
    "shapes of patches": _shapes_of_patches,
}
"""What a row's `given` names: further arguments, of configuration, noised latents and text."""


def _noise(like: Tensor, seed: int) -> Tensor:
    """A sample's noise: the same on every device."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))


def _name_in(batch: Any, names: Sequence[str]) -> str | None:
    """The first of these names that a batch has."""
    if not isinstance(batch, Mapping):
        raise LokrWeightingError(
            f"a batch is a {type(batch).__name__}; without a forward of your own a dictionary with "
            f"{LATENTS} and the captions' embeddings is wanted; or {OWN}"
        )
    return next((name for name in names if batch.get(name) is not None), None)


def _found(batch: Any, what: str, names: Sequence[str]) -> Tensor:
    """What a batch has under one of these names."""
    name = _name_in(batch, names)
    if name is None:
        raise LokrWeightingError(
            f"a batch has no {what} (called {' or '.join(names)}); it has "
            f"{', '.join(map(str, batch)) or 'nothing'}; or {OWN}"
        )
    return batch[name]
