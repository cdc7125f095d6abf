"""Samples of the run's own images: drawn one by one, prepared and run as training would."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed

from lokr_weighting.data.samples import stratified_timestep
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.distances import measured_of
from lokr_weighting.measure.probe import Probe
from lokr_weighting.records.record import Measured
from lokr_weighting_simpletuner.datasets import DataSet, dataset_of, training_backends
from lokr_weighting_simpletuner.families import known_families
from lokr_weighting_simpletuner.text import text_mask

TIMESTEPS = 1000.0
SMALLEST = 2 / TIMESTEPS  # SimpleTuner takes timesteps up to 1 for sigmas
IMAGE, RANDOM = 1, 2
"""What a random stream of a sample is for: keeps them apart."""


@dataclass(frozen=True)
class Samples:
    """The samples of one process, by their numbers.

    Sample n is a function of the seed, the number and the process's images. Its image is drawn
    independently of the others': SimpleTuner's sampler, which gives a batch of one aspect bucket
    and then one of the next, would make a third of the images most of the samples. Each image
    comes as often as in training, where a bucket's last batch is filled up from the same bucket.

    Attributes:
        trainer: SimpleTuner's trainer.
        datasets: its data sets.
        seed: decides the samples.
        bins: the timestep bins that they are drawn in.
    """

    trainer: Any
    datasets: Sequence[DataSet]
    seed: int
    bins: int

    def timestep(self, number: int) -> float:
        """A sample's timestep, in [SMALLEST, 1]."""
        return max(stratified_timestep(self.seed, number, self.bins), SMALLEST)

    def draw(self, number: int) -> dict[str, Any]:
        """A sample as a batch of one, as SimpleTuner's data loader gives batches.

        Raises:
            LokrWeightingError: its data set has no image in this process.
        """
        name = dataset_of(number, self.datasets, self.seed)
        backend = training_backends(self.trainer.config)[name]
        sampler, loader = backend["sampler"], backend["train_dataloader"]
        bucket, image = _image(name, sampler, np.random.default_rng([self.seed, number, IMAGE]))
        words = np.random.SeedSequence([self.seed, number, RANDOM]).generate_state(1)
        set_seed(int(words[0]))  # of the caption, its dropout, noise and guidance
        drawn = sampler._validate_and_yield_images_from_samples([image], bucket)
        drawn = sampler.connect_s2v_samples(sampler.connect_conditioning_samples(drawn))
        return loader.collate_fn([loader.dataset[tuple(drawn)]])

    @torch.no_grad()
    def run(self, number: int, around: Callable[[Callable[[], None], dict[str, Any]], Any]) -> Any:
        """Draw a sample, noise it, and hand its forward on.

        Args:
            number: the sample's number.
            around: runs the forward, which is its first argument; the second is SimpleTuner's
                prepared batch.

        Returns:
            what `around` returns.
        """
        prepared = self.trainer.prepare_batch(self.draw(number))
        _check(prepared, self.trainer.config.model_family)
        # would run the model several times
        prepared.pop("scheduled_sampling_plan", None)
        timesteps = [self.timestep(number) * TIMESTEPS]

        def predict() -> None:
            with self.trainer.accelerator.autocast():
                self.trainer.model_predict(prepared, custom_timesteps=timesteps)

        return around(predict, prepared)

    def measure(self, number: int, probe: Probe) -> list[Measured]:
        """A sample's record, in a list.

        Args:
            number: the sample's number.
            probe: on the run's model, entered.
        """

        def measured(predict: Callable[[], None], prepared: dict[str, Any]) -> list[Measured]:
            distances = probe.measure(
                predict,
                samples=[number],
                text_mask=text_mask(self.trainer, prepared, probe.family),
                reference_tokens=reference_tokens(prepared),
            )
            names = [block.name for block in probe.blocks]
            return measured_of(distances, names, [self.timestep(number)], number)

        return self.run(number, measured)


def reference_tokens(prepared: dict[str, Any]) -> int:
    """How many of a batch's image tokens are reference images', behind those of what is made.

    Flux Kontext has such; their distances say nothing of the image that the run trains on.
    """
    reference = prepared.get("conditioning_packed_latents")
    return 0 if reference is None else reference.shape[1]


def _check(prepared: dict[str, Any], model_family: str) -> None:
    """Refuse a batch whose tokens cannot be told apart.

    Raises:
        LokrWeightingError: it brings something that the family's row refuses.
    """
    own = known_families().get(model_family)
    for key, why in own.refused_inputs.items() if own is not None else ():
        if prepared.get(key) is not None:
            raise LokrWeightingError(
                f"{model_family}: a batch has {key}, and {why}, so that which tokens are whose "
                "cannot be told: take the conditioning data set out, or train without this plugin"
            )


def _image(name: str, sampler: Any, rng: np.random.Generator) -> tuple[str, str]:
    """A bucket and an image of it, drawn as often as training comes to it."""
    buckets = sampler.metadata_backend.aspect_ratio_bucket_indices
    names = sorted(bucket for bucket, images in buckets.items() if images)
    if not names:
        raise LokrWeightingError(
            f"data set {name!r} has no image in process {sampler.accelerator.process_index}: "
            "use fewer processes"
        )
    size = sampler.batch_size
    filled = np.array([math.ceil(len(buckets[each]) / size) * size for each in names])
    bucket = names[rng.choice(len(names), p=filled / filled.sum())]
    images = sorted(buckets[bucket])
    return bucket, sampler._sample_path(images[rng.integers(len(images))])
