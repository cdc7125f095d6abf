"""Measuring an ablation on a folder of images, and drawing images with it."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from lokr_weighting.ablation import BINS, Ablation, Change
from lokr_weighting.architectures import empty_transformer
from lokr_weighting.blocks import block_names, family_of
from lokr_weighting.data.dataset import DatasetForward, Job
from lokr_weighting.data.folder import check_problems, find_images
from lokr_weighting.data.loading import (
    DTYPES,
    Offload,
    load_unchanged,
    pipeline_folder,
    place_pipeline,
)
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.processes import in_order, joined
from lokr_weighting.records import Record, bin_of, stack_records
from lokr_weighting.strategies import Kind, Strategy, executed


def standard_strategies(model: nn.Module) -> list[Strategy]:
    """Each block skipped; each list's middle half skipped, repeated, reversed, in parallel."""
    counts = {
        blocks.path: len(list(model.get_submodule(blocks.path).children()))
        for blocks in family_of(model).lists
    }
    found = [
        Strategy("skip", path, index, index)
        for path, count in counts.items()
        for index in range(count)
    ]
    kinds: tuple[Kind, ...] = ("skip", "repeat", "reverse", "parallel")
    for path, count in counts.items():
        first, last = count // 4, count - count // 4 - 1
        if last > first:
            found += [Strategy(kind, path, first, last) for kind in kinds]
    return found


def ablate_folder(
    job: Job,
    strategies: Sequence[Strategy] | None = None,
    samples: int = 40,
    device: str | None = None,
    offload: Offload = "none",
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> Ablation:
    """Measure strategies on a folder of images.

    Under `accelerate launch` every process runs its share, and all return the same.

    Args:
        job: model and data, as for a calibration.
        strategies: what to try; by default `standard_strategies`.
        samples: how many (image, caption, timestep); at least two for each of ten timestep bins.
        device: "cuda", "cpu", ...; by default a GPU where there is one.
        offload: as for a calibration.
        on_progress: called with (forwards done, forwards in all) of this process.

    Raises:
        LokrWeightingError: too few samples, or the model cannot run a strategy.
    """
    if samples < 2 * BINS:
        raise LokrWeightingError(
            f"samples = {samples}: {BINS} timestep bins need at least {2 * BINS}"
        )
    state, where = joined(device)
    folder = pipeline_folder(job.model, job.revision)
    images = find_images(job.data)
    check_problems(images.problems, len(images.items) + len(images.problems))
    empty = empty_transformer(str(folder))
    names = tuple(block_names(empty))
    chosen = list(standard_strategies(empty) if strategies is None else strategies)
    settings = job.settings(folder, images, BINS, where)
    own = range(state.process_index, samples, state.num_processes)
    total = len(own) * (len(chosen) + 1)
    with DatasetForward(job, folder, images, settings, names, own, where, offload) as forward:
        records = in_order([(index, _record(forward, index)) for index in own])
        forward.probe.__exit__()  # the blocks do not run in their order any more
        base = _losses(forward, own)
        on_progress(len(own), total)
        losses = []
        for number, strategy in enumerate(chosen, start=1):
            losses.append(_losses_with(strategy, forward, own))
            on_progress(len(own) * (number + 1), total)
    stacked = stack_records(records)
    bins = bin_of(stacked.timesteps, BINS)
    return Ablation(
        job.model,
        samples,
        names,
        float(base.mean()),
        tuple(
            _change(strategy, loss - base, bins)
            for strategy, loss in zip(chosen, losses, strict=True)
        ),
        stacked.image.mean(axis=0),
        stacked.text.mean(axis=0),
    )


def _record(forward: DatasetForward, index: int) -> Record:
    measured = forward(index)
    if not isinstance(measured, Record):
        raise LokrWeightingError(f"{measured.block} gives NaN or Inf: try another dtype")
    return measured


def _losses(forward: DatasetForward, own: Sequence[int]) -> np.ndarray:
    """The losses of all processes' samples; `own` are this one's."""
    return np.array(in_order([(index, forward.loss(index)) for index in own]))


def _losses_with(strategy: Strategy, forward: DatasetForward, own: Sequence[int]) -> np.ndarray:
    try:
        with executed(forward.forward.pipeline.transformer, strategy):
            return _losses(forward, own)
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise LokrWeightingError(
            f"{strategy.label}: the model cannot be run like this ({error})"
        ) from error


def _change(strategy: Strategy, differences: np.ndarray, bins: np.ndarray) -> Change:
    """The mean over the bins, each counted alike, with its standard error."""
    rows = [differences[bins == each] for each in range(BINS)]
    means = np.array([row.mean() for row in rows])
    errors = np.array([row.std(ddof=1) / np.sqrt(len(row)) for row in rows])
    error = float(np.sqrt(np.square(errors).sum()) / BINS)
    return Change(strategy, float(means.mean()), error, means, errors)


def images_of(
    job: Job,
    strategies: Sequence[Strategy],
    prompts: Sequence[str],
    device: str | None = None,
    offload: Offload = "none",
    on_progress: Callable[[int, int], None] = lambda *_: None,
    **options: Any,
) -> list[list[Any]]:
    """Images side by side: one row for the model as it is, and one for each strategy.

    Args:
        job: the model, how it is loaded, the resolution, and the seed, which decides the noise.
        strategies: the strategies.
        prompts: the prompts; the same noise is used for a prompt in every row.
        device: where to run; by default a GPU where there is one.
        offload: as for a calibration, of the whole pipeline.
        on_progress: called with (images drawn, images in all).
        options: further arguments of the pipeline's call, e.g. num_inference_steps.

    Returns:
        PIL images, (1 + strategies) x prompts.
    """
    _, where = joined(device)
    folder = pipeline_folder(job.model, job.revision)
    pipeline = load_unchanged(folder, DTYPES[job.dtype_on(where)], job.quantization)
    place_pipeline(pipeline, where, offload)
    if job.resolution is not None:
        options |= {"height": job.resolution, "width": job.resolution}
    rows: list[list[Any]] = []
    total = (1 + len(strategies)) * len(prompts)
    for strategy in (None, *strategies):
        rows.append([])
        way = nullcontext() if strategy is None else executed(pipeline.transformer, strategy)
        with way:
            for number, prompt in enumerate(prompts):
                noise = torch.Generator().manual_seed(job.seed + number)
                rows[-1] += pipeline(prompt, generator=noise, **options).images
                on_progress(sum(map(len, rows)), total)
    return rows
