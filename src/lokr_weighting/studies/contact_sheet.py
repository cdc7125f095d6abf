"""Drawing images with a model whose blocks are run otherwise, side by side."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch

from lokr_weighting.measure.job import Job
from lokr_weighting.measure.sizing import held_to
from lokr_weighting.models.denoiser import denoiser
from lokr_weighting.models.loading import (
    DTYPES,
    Offload,
    load_unchanged,
    pipeline_folder,
    place_pipeline,
)
from lokr_weighting.models.table import pipeline_call
from lokr_weighting.processes import joined
from lokr_weighting.studies.strategies import Strategy, executed


def images_of(
    job: Job,
    strategies: Sequence[Strategy],
    prompts: Sequence[str],
    *,
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
    call = pipeline_call(type(pipeline).__name__)
    options = {**call.draw, **options}
    sides = options.get("width"), options.get("height")
    held = nullcontext if None in sides else partial(held_to, pipeline, call, *sides)
    model = denoiser(pipeline) if job.transformer is None else getattr(pipeline, job.transformer)
    rows: list[list[Any]] = []
    total = (1 + len(strategies)) * len(prompts)
    for strategy in (None, *strategies):
        rows.append([])
        with nullcontext() if strategy is None else executed(model, strategy):
            for number, prompt in enumerate(prompts):
                noise = torch.Generator().manual_seed(job.seed + number)
                with held():
                    drawn = pipeline(prompt, generator=noise, **options)[0]
                # of a video, its frames
                rows[-1] += drawn[0] if isinstance(drawn[0], list) else drawn
                on_progress(sum(map(len, rows)), total)
    return rows
