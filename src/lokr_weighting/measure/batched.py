"""The loss of several samples in one call of the transformer, with gradients.

The pipeline builds the transformer's inputs, as in `forward`, at one timestep for the whole batch;
a hook on the transformer then gives every sample its own. All families in the table count their
timesteps in proportion to the share of noise.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lokr_weighting.data.encoding import SampleEncoder
from lokr_weighting.data.samples import Sample
from lokr_weighting.measure.forward import noise_of
from lokr_weighting.models.table import pipeline_call

COMMON = 0.5  # the timestep that the pipeline is called with: a power of 2, so nothing is rounded


@dataclass(frozen=True)
class Inputs:
    """What one sample is run on.

    Attributes:
        sample: its timestep and noise.
        clean: its image's latents, (1, channels, height, width).
        embeddings: the call's arguments for its caption, (1, ...) each.
    """

    sample: Sample
    clean: Tensor
    embeddings: dict[str, Tensor]


def inputs_of(source: SampleEncoder, sample: Sample) -> Inputs:
    """What a sample is run on, from what was encoded."""
    latents, embeddings = source.encoder.latents, source.encoder.embeddings
    return Inputs(sample, latents[sample.image, sample.crop], embeddings[source.caption_of(sample)])


class BatchedForward:
    """Runs batches of samples through a pipeline's transformer, which may hold adapters.

    Args:
        pipeline: the pipeline; its transformer is where it will run.
        device: where that is.
    """

    def __init__(self, pipeline: Any, device: torch.device) -> None:
        self.pipeline, self.device = pipeline, device
        self.call = pipeline_call(type(pipeline).__name__)

    def losses(self, batch: Sequence[Inputs]) -> Tensor:
        """Each sample's flow-matching loss, (batch,), on the device.

        Samples of one size are run together.
        """
        groups: dict[torch.Size, list[int]] = {}
        for place, each in enumerate(batch):
            groups.setdefault(each.clean.shape, []).append(place)
        found = [self._losses([batch[place] for place in places]) for places in groups.values()]
        order = torch.tensor([place for places in groups.values() for place in places])
        return torch.cat(found)[order.argsort()]

    def _losses(self, batch: Sequence[Inputs]) -> Tensor:
        times = torch.tensor([each.sample.timestep for each in batch], device=self.device)
        clean = torch.cat([each.clean for each in batch]).to(self.device)
        noise = torch.cat([noise_of(each.sample, each.clean) for each in batch]).to(self.device)
        shares = times.view(-1, 1, 1, 1).to(clean.dtype)
        latents, velocity = (1 - shares) * clean + shares * noise, noise - clean
        size, channels, height, width = clean.shape
        if self.call.packed:
            latents, velocity = (
                self.pipeline._pack_latents(each, size, channels, height, width)
                for each in (latents, velocity)
            )
        scale = self.pipeline.vae_scale_factor
        embeddings = {
            name: torch.cat([each.embeddings[name] for each in batch]).to(self.device)
            for name in batch[0].embeddings
        }
        # without diffusers' no_grad around it
        call = inspect.unwrap(type(self.pipeline).__call__)
        with self._each_at(times) as outputs:
            call(
                self.pipeline,
                latents=latents,
                height=height * scale,
                width=width * scale,
                num_inference_steps=1,
                sigmas=[COMMON],
                output_type="latent",
                **embeddings,
                **self.call.call,
            )
        missed = (outputs[0] - velocity).float()
        return missed.square().flatten(1).mean(dim=1)

    @contextmanager
    def _each_at(self, times: Tensor) -> Iterator[list[Tensor]]:
        """Within, the transformer runs every sample at its own timestep; its outputs are kept."""
        outputs: list[Tensor] = []

        def enter(_module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            timestep = kwargs["timestep"]
            own = (timestep.float() * (times / COMMON)).to(timestep.dtype)
            return args, kwargs | {"timestep": own}

        def leave(_module: Any, _args: Any, output: Any) -> None:
            outputs.append(output[0])

        transformer = self.pipeline.transformer
        handles = [
            transformer.register_forward_pre_hook(enter, with_kwargs=True),
            transformer.register_forward_hook(leave),
        ]
        try:
            yield outputs
        finally:
            for handle in handles:
                handle.remove()
