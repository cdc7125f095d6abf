"""Calibration: draw samples, run them, keep the records, stop when the plan is settled."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lokr_weighting.architectures import empty_transformer
from lokr_weighting.blocks import block_linears, block_names
from lokr_weighting.calibration import Calibration, Folder
from lokr_weighting.collect import Collector, Stop, measured_of
from lokr_weighting.data.dataset import DatasetForward, Job
from lokr_weighting.data.folder import check_problems, find_images
from lokr_weighting.data.loading import Offload, pipeline_folder
from lokr_weighting.draw import stratified_timestep
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.probe import Probe
from lokr_weighting.processes import in_order, joined
from lokr_weighting.recipe import Recipe
from lokr_weighting.settle import Settled

Progress = Callable[[int, int, Settled | None], None]
"""Called with (samples, the number at which the plan is judged next, the last judgement)."""


def calibrate_folder(
    job: Job,
    output: Path,
    recipe: Recipe | None = None,
    budget: str | None = None,
    stop: Stop | None = None,
    device: str | None = None,
    offload: Offload = "none",
    similarity: bool = False,
    on_progress: Progress = lambda *_: None,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Calibration, Settled | None]:
    """Calibrate a model on a folder of images; resumes or reuses what `output` holds.

    Under `accelerate launch` every process measures its share, and all return the same.

    Args:
        job: what to measure.
        output: the calibration's folder.
        recipe: the recipe of the plan that must settle.
        budget: its budget.
        stop: when to stop.
        device: "cuda", "cpu", ...; by default a GPU where there is one.
        offload: as for `PipelineForward`.
        similarity: gather the similarity of every pair of blocks too; `output` may hold a
            calibration without, whose samples are then run once more.
        on_progress: told how it goes.
        say: called with what a user should know.

    Returns:
        the calibration, and how settled the plan is.

    Raises:
        LokrWeightingError: the model, the data or the folder cannot be used, or the model gives
            NaN or Inf time and again.
    """
    from accelerate.utils import broadcast_object_list, gather_object

    recipe, stop = recipe or Recipe(), stop or Stop()
    state, where = joined(device)
    folder = pipeline_folder(job.model, job.revision)
    images = find_images(job.data)
    check_problems(images.problems, len(images.items) + len(images.problems))
    if images.without_caption:
        say(f"{images.without_caption} images have no caption; theirs is empty")
    empty = empty_transformer(str(folder))
    collector = Collector(
        blocks=block_names(empty),
        linears=block_linears(empty),
        settings=job.settings(folder, images, recipe.bins, where),
        recipe=recipe,
        budget=budget,
        stop=stop,
        skipped={problem.name: problem.reason for problem in images.problems},
        on_progress=on_progress,
        processes=state.num_processes,
        similarity=similarity,
    )
    if state.is_main_process:
        collector.folder = Folder(output, collector.settings)
    try:
        before = [collector.folder.read() if collector.folder else []]
        broadcast_object_list(before)
        collector.resume(before[0])
        if not collector.enough():
            last = collector.stop.samples or collector.stop.most
            indices = range(state.process_index, last, state.num_processes)
            rest = [index for index in indices if index >= collector.count]
            blocks, settings = tuple(collector.blocks), collector.settings
            with DatasetForward(
                job, folder, images, settings, blocks, rest, where, offload, similarity
            ) as forward:
                broken = gather_object(list(forward.broken.values()))
                collector.skipped |= {problem.name: problem.reason for problem in broken}
                while not collector.enough():
                    _measure_to(collector.next_target(), collector, forward, state.num_processes)
        return collector.finish(), collector.settled
    finally:
        if collector.folder:
            collector.folder.close()


def _measure_to(target: int, collector: Collector, forward: DatasetForward, processes: int) -> None:
    """Measure up to `target` samples; one for each process between two exchanges."""
    while collector.count < target:
        row = range(collector.count, min(collector.count + processes, target))
        collector.add(in_order([(i, forward(i)) for i in row if i in forward.samples]))


def calibrate(
    model: nn.Module,
    batches: Iterable[Any],
    forward: Callable[[nn.Module, Any, Tensor], Any],
    *,
    recipe: Recipe | None = None,
    budget: str | None = None,
    stop: Stop | None = None,
    seed: int = 0,
    text_mask: Callable[[Any], Tensor] | None = None,
    similarity: bool = False,
    on_progress: Progress = lambda *_: None,
) -> Calibration:
    """Calibrate with a training loop's own batches and forward; kept in memory.

    Args:
        model: the transformer, as it will be trained; it is not changed.
        batches: the batches, e.g. a data loader; begun again when they end.
        forward: called as forward(model, batch, timesteps) with timesteps (batch,) in (0, 1), where
            1 is pure noise; must noise the batch to them and run the model once.
        recipe: the recipe of the plan that must settle.
        budget: its budget.
        stop: when to stop.
        seed: decides the timesteps; what else is random is the caller's.
        text_mask: gives a batch's real caption tokens, (batch, tokens) of bool.
        similarity: gather the similarity of every pair of blocks too.
        on_progress: told how it goes.

    Raises:
        LokrWeightingError: there are no batches, a block did not run, or the model gives NaN or
            Inf time and again.
    """
    from accelerate.utils import find_batch_size

    recipe = recipe or Recipe()
    collector = Collector(
        blocks=block_names(model),
        linears=block_linears(model),
        settings={"model": type(model).__name__, "seed": seed, "bins": recipe.bins},
        recipe=recipe,
        budget=budget,
        stop=stop or Stop(),
        on_progress=on_progress,
    )
    modes = {module: module.training for module in model.modules()}
    device = next(model.parameters()).device
    endless = _endless(batches)
    model.eval()
    try:
        with Probe(model, similarity) as probe, torch.no_grad():
            while not collector.enough():
                target = collector.next_target()
                while collector.count < target:
                    batch = next(endless)
                    size = find_batch_size(batch) or 1
                    first = collector.count
                    timesteps = [
                        stratified_timestep(seed, first + i, recipe.bins) for i in range(size)
                    ]
                    probe.samples = range(first, first + size)
                    probe.text_mask = None if text_mask is None else text_mask(batch)
                    forward(model, batch, torch.tensor(timesteps, device=device))
                    found = measured_of(probe.take(), collector.blocks, timesteps, first)
                    collector.add(found[: target - first])
    finally:
        for module, training in modes.items():
            module.training = training
    return collector.finish()


def _endless(batches: Iterable[Any]) -> Iterator[Any]:
    while True:
        empty = True
        for batch in batches:
            empty = False
            yield batch
        if empty:
            raise LokrWeightingError("there are no more batches: give a data loader or a list")
