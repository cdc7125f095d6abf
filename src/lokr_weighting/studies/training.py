"""Short trainings of adapters on one job, alike in all but the plan."""

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import peft
import psutil
import torch
from diffusers.training_utils import cast_training_params
from torch import nn

from lokr_weighting.data.encoding import Encoder, SampleEncoder
from lokr_weighting.data.folder import ImageFolder
from lokr_weighting.data.samples import Sample
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.batched import BatchedForward, inputs_of
from lokr_weighting.measure.job import PreparedJob
from lokr_weighting.models.denoiser import denoiser
from lokr_weighting.models.loading import DTYPES, load_pipeline, place
from lokr_weighting.studies.comparison import BINS
from lokr_weighting.studies.rivals import Arm
from lokr_weighting.targets import peft as weighted
from lokr_weighting.targets.lora import lora_config

WARMUP = 0.1  # share of the steps in which the learning rate rises
CLIP = 1.0  # norm that gradients are clipped at
FEWEST = 4  # images, of which a part is held out
HELD_OUT_SEED = 2**31 - 1  # draws the held-out samples; trainings have other seeds


@dataclass(frozen=True)
class Training:
    """How one adapter is trained: AdamW without weight decay, a cosine after a short warm-up.

    Attributes:
        steps: optimizer steps.
        batch: samples in each.
        rate: the learning rate at its highest.
        seed: decides initial values, batches, timesteps and noise.
    """

    steps: int
    batch: int
    rate: float
    seed: int


@dataclass(frozen=True)
class Trained:
    """What a training gave.

    Attributes:
        parameters: how many were trained.
        losses: of the held-out samples afterwards, (samples,); NaN where the training diverged.
        kept: of the samples of the folder that should not be forgotten, (samples,); empty where
            there is none.
        seconds: for the steps, without evaluation.
        peak_bytes: the most memory during the steps: the GPU's, or on a CPU the process's.
    """

    parameters: int
    losses: np.ndarray
    kept: np.ndarray
    seconds: float
    peak_bytes: int


class Bench:
    """A job's model, with its images in two parts: to train on and held out.

    Args:
        prepared: the job.
        held_out: the share of the images that is held out.
        samples: how many held-out samples losses are measured on.
        batch: how many of them are run at once.
        keep: a folder of images whose loss should not rise.
        checkpointing: keep fewer activations, and run blocks twice (gradient checkpointing).

    Raises:
        LokrWeightingError: there are too few images, or the model cannot be loaded.
    """

    def __init__(
        self,
        prepared: PreparedJob,
        *,
        held_out: float,
        samples: int,
        batch: int,
        keep: ImageFolder | None = None,
        checkpointing: bool = False,
    ) -> None:
        job, self.device, self.batch = prepared.job, prepared.device, batch
        dtype = DTYPES[job.dtype_on(self.device)]
        pipeline = load_pipeline(
            prepared.pipeline, dtype, job.quantization, self.device, prepared.transformer
        )
        trained, tested = parts_of(prepared.images, held_out, job.seed)
        folders = [trained, tested, *([] if keep is None else [keep])]
        self._sources = [
            SampleEncoder(
                Encoder(pipeline, self.device, job.text_tokens),
                folder,
                prepared.settings["resolution"],
                buckets=job.buckets,
                frames=job.most_frames,
            )
            for folder in folders
        ]
        self._tested, *kept = (
            [source.draw(HELD_OUT_SEED, index, BINS) for index in range(samples)]
            for source in self._sources[1:]
        )
        self._kept: list[Sample] = kept[0] if kept else []
        self._encode_all(self._sources[0])
        for source in self._sources:
            source.encoder.free()
        model: Any = denoiser(pipeline)
        place(model, self.device, "none")
        model.requires_grad_(False)
        if checkpointing:
            model.enable_gradient_checkpointing()
        self.transformer: nn.Module = model
        self._forward = BatchedForward(pipeline, self.device)

    @property
    def images(self) -> np.ndarray:
        """The image of each held-out sample, (samples,) of int."""
        return np.array([sample.image for sample in self._tested])

    @property
    def timesteps(self) -> np.ndarray:
        """The timestep of each held-out sample, (samples,), in (0, 1)."""
        return np.array([sample.timestep for sample in self._tested])

    def losses(self) -> tuple[np.ndarray, np.ndarray]:
        """The losses of the held-out samples, (samples,), and of those to keep, as it is now."""
        tested = self._measured(self._sources[1], self._tested)
        return tested, self._measured(self._sources[-1], self._kept)

    def train(
        self, arm: Arm, training: Training, on_step: Callable[[], None] = lambda: None
    ) -> Trained:
        """Train one adapter, measure what it gives, and take it out of the model again."""
        with _adapted(self.transformer, arm, training.seed) as parameters:
            optimizer = torch.optim.AdamW(parameters, lr=training.rate, weight_decay=0.0)
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _shape(training.steps))
            memory = _Memory(self.device)
            start = time.perf_counter()
            for step in range(training.steps):
                first = step * training.batch
                batch = [
                    self._sources[0].draw(training.seed, first + place, BINS)
                    for place in range(training.batch)
                ]
                loss = self._forward.losses(
                    [inputs_of(self._sources[0], each) for each in batch]
                ).mean()
                if not torch.isfinite(loss):
                    return self._diverged(parameters, time.perf_counter() - start, memory.peak)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, CLIP)
                optimizer.step()
                schedule.step()
                memory.look()
                on_step()
            seconds = time.perf_counter() - start
            losses, kept = self.losses()
            if not np.isfinite(losses).all():
                return self._diverged(parameters, seconds, memory.peak)
            return Trained(_count(parameters), losses, kept, seconds, memory.peak)

    def _diverged(
        self, parameters: Sequence[nn.Parameter], seconds: float, peak_bytes: int
    ) -> Trained:
        tested, kept = (np.full(len(x), np.nan) for x in (self._tested, self._kept))
        return Trained(_count(parameters), tested, kept, seconds, peak_bytes)

    def _encode_all(self, source: SampleEncoder) -> None:
        """Encode every image and caption once: trainings draw from all of them."""
        for image, item in enumerate(source.images.items):
            if source.encode(image):
                for caption in item.captions:
                    source.encoder.encode_caption(caption)

    @torch.no_grad()
    def _measured(self, source: SampleEncoder, samples: Sequence[Sample]) -> np.ndarray:
        found = [
            self._forward.losses(
                [inputs_of(source, each) for each in samples[first : first + self.batch]]
            )
            for first in range(0, len(samples), self.batch)
        ]
        return torch.cat(found).double().cpu().numpy() if found else np.empty(0)


def parts_of(images: ImageFolder, held_out: float, seed: int) -> tuple[ImageFolder, ImageFolder]:
    """The images to train on and those held out, by chance.

    Args:
        images: all of them.
        held_out: the share that is held out; at least two images are in either part.
        seed: decides which.

    Raises:
        LokrWeightingError: there are fewer than FEWEST.
    """
    count = len(images.items)
    if count < FEWEST:
        raise LokrWeightingError(
            f"{images.root}: has {count} images; a comparison needs at least {FEWEST}, of which "
            "some are held out"
        )
    tested = min(max(round(held_out * count), 2), count - 2)
    order = np.random.default_rng([seed, HELD_OUT_SEED]).permutation(count)
    parts = sorted(order[tested:].tolist()), sorted(order[:tested].tolist())
    trained, held = (
        replace(images, items=tuple(images.items[place] for place in part)) for part in parts
    )
    return trained, held


def _count(parameters: Sequence[nn.Parameter]) -> int:
    return sum(each.numel() for each in parameters)


@contextmanager
def _adapted(model: Any, arm: Arm, seed: int) -> Iterator[list[nn.Parameter]]:
    """The model with the arm's adapter in it, and what is trained; without it afterwards."""
    with torch.random.fork_rng(devices=[]):
        # by name too: NAME#2 begins elsewhere than NAME
        torch.manual_seed(zlib.crc32(f"{arm.name} {seed}".encode()))
        if arm.kind == "lora":
            wrapped = peft.get_peft_model(model, lora_config(arm.plan))
        else:
            wrapped = weighted.get_peft_model(model, arm.plan)
            weighted.save_memory(wrapped)
    try:
        cast_training_params(wrapped)
        yield [each for each in wrapped.parameters() if each.requires_grad]
    finally:
        wrapped.unload()
        # some versions of peft leave it behind, and warn of it the next time
        vars(model).pop("peft_config", None)


def _shape(steps: int) -> Callable[[int], float]:
    """The learning rate at a step, in shares of its highest."""
    warmup = max(1, round(WARMUP * steps))

    def share(step: int) -> float:
        rising = min(1.0, (step + 1) / warmup)
        return rising * 0.5 * (1 + float(np.cos(np.pi * step / steps)))

    return share


class _Memory:
    """The most memory that was seen."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.peak = device, 0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def look(self) -> None:
        """Look once, after a step."""
        if self.device.type == "cuda":
            now = torch.cuda.max_memory_allocated(self.device)
        else:
            now = psutil.Process().memory_info().rss
        self.peak = max(self.peak, now)
