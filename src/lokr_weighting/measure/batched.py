"""The loss of several samples in one run of the model, with gradients.

The pipeline builds the model's inputs, as in `forward`, for the whole batch; every sample runs at
its own timestep.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lokr_weighting.data.captions import Embedding, joined, moved
from lokr_weighting.data.encoding import SampleEncoder
from lokr_weighting.data.samples import Sample
from lokr_weighting.measure.forward import noise_of
from lokr_weighting.measure.objectives import objective_of, proportion
from lokr_weighting.measure.one_step import OneStepCall
from lokr_weighting.models.denoiser import denoiser
from lokr_weighting.models.table import pipeline_call

COMMON = 0.5  # the timestep that others are scaled from: a power of 2, so nothing is rounded


@dataclass(frozen=True)
class Inputs:
    """What one sample is run on.

    Attributes:
        sample: its timestep and noise.
        clean: its image's latents, (1, channels, height, width).
        embeddings: the call's arguments for its caption, of one caption each.
    """

    sample: Sample
    clean: Tensor
    embeddings: dict[str, Embedding]


def inputs_of(source: SampleEncoder, sample: Sample) -> Inputs:
    """What a sample is run on, from what was encoded."""
    latents, embeddings = source.encoder.latents, source.encoder.embeddings
    return Inputs(sample, latents[sample.image, sample.crop], embeddings[source.caption_of(sample)])


class BatchedForward:
    """Runs batches of samples through a pipeline's model, which may hold adapters.

    Args:
        pipeline: the pipeline; its transformer or UNet is where it will run.
        device: where that is.

    Raises:
        LokrWeightingError: how the model is noised is not known.
    """

    def __init__(self, pipeline: Any, device: torch.device) -> None:
        self.pipeline, self.device = pipeline, device
        self.call = pipeline_call(type(pipeline).__name__)
        self.objective = objective_of(pipeline)
        self._run = OneStepCall(pipeline, self.call)

    def losses(self, batch: Sequence[Inputs]) -> Tensor:
        """Each sample's loss, (batch,), on the device.

        Samples of one size are run together.
        """
        groups: dict[Any, list[int]] = {}
        for place, each in enumerate(batch):
            groups.setdefault(self._size(each), []).append(place)
        found = [self._losses([batch[place] for place in places]) for places in groups.values()]
        order = torch.tensor([place for places in groups.values() for place in places])
        return torch.cat(found)[order.argsort()]

    def _size(self, inputs: Inputs) -> Any:
        """What samples must share to be run together."""
        texts = () if self.call.mask else tuple(map(_shape, inputs.embeddings.values()))
        return inputs.clean.shape, texts

    def _losses(self, batch: Sequence[Inputs]) -> Tensor:
        times = torch.tensor([each.sample.timestep for each in batch], device=self.device)
        clean = torch.cat([each.clean for each in batch]).to(self.device)
        noise = torch.cat([noise_of(each.sample.noise_seed, each.clean) for each in batch]).to(
            self.device
        )
        embeddings = {
            name: moved(self._joined(name, [each.embeddings[name] for each in batch]), self.device)
            for name in batch[0].embeddings
        }
        scaled = self.call.scaled_timesteps
        given = torch.tensor([COMMON]) if scaled else times[None]
        with self._each_at(times) if scaled else nullcontext():
            step = self._run(
                self.objective.noised(clean, noise, times),
                self.objective.timesteps(given),
                embeddings,
                gradients=True,
            )
        target = self._run.predicted(self.objective.target(clean, noise, times))
        missed = (step.prediction - target).float()
        return missed.square().flatten(1).mean(dim=1)

    def _joined(self, name: str, embeddings: list[Embedding]) -> Embedding:
        ways = self.call.joining
        return joined(embeddings, ways[name]) if name in ways else joined(embeddings)

    @contextmanager
    def _each_at(self, times: Tensor) -> Iterator[None]:
        """Within, the model runs every sample at its own timestep."""

        def enter(_module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            timestep = kwargs["timestep"]
            # some have one for each token, (batch, tokens)
            factors = proportion(self.objective, times, COMMON)
            factors = factors.view(-1, *(1,) * (timestep.ndim - 1))
            return args, kwargs | {"timestep": (timestep.float() * factors).to(timestep.dtype)}

        handle = denoiser(self.pipeline).register_forward_pre_hook(enter, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()


def _shape(embedding: Embedding) -> Any:
    """A text's shape; a list's captions may differ."""
    return None if isinstance(embedding, list) else embedding.shape
