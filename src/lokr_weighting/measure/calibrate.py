"""Calibration: draw samples, run them, keep the records, stop when the plan is settled."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lokr_weighting.data.samples import stratified_timestep
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.collector import Collector, Progress
from lokr_weighting.measure.distances import measured_of
from lokr_weighting.measure.gradients import gains_of_job
from lokr_weighting.measure.job import Job, PreparedJob
from lokr_weighting.measure.probe import Probe
from lokr_weighting.measure.runner import JobRunner
from lokr_weighting.measure.stop import Stop
from lokr_weighting.models.blocks import block_linears, block_names
from lokr_weighting.models.loading import Offload, evaluating
from lokr_weighting.plan.recipe import Recipe
from lokr_weighting.plan.selection import read_selection
from lokr_weighting.plan.settled import Settled
from lokr_weighting.processes import from_main, in_order, joined
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.records.gains import GAINS, write_gains
from lokr_weighting.records.store import read_own_gains

GRADIENT_SAMPLES = 200  # the fewest that gains are measured on


def calibrate_folder(
    job: Job | PreparedJob,
    output: Path,
    recipe: Recipe | None = None,
    *,
    budget: str | None = None,
    blocks: str | None = None,
    stop: Stop | None = None,
    device: str | None = None,
    offload: Offload = "none",
    similarity: bool = False,
    gradients: bool = False,
    on_progress: Progress = lambda *_: None,
    on_gradients: Callable[[int, int], None] = lambda *_: None,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Calibration, Settled | None]:
    """Calibrate a model on a folder of images; resumes or reuses what `output` holds.

    Under `accelerate launch` every process measures its share, and all return the same.

    Args:
        job: what to measure, prepared or not.
        output: the calibration's folder.
        recipe: the recipe of the plan that must settle.
        budget: its budget.
        blocks: its part of the model, as in `make_plan`; every block is measured all the same.
        stop: when to stop.
        device: "cuda", "cpu", ...; by default a GPU where there is one.
        offload: as for `PipelineForward`.
        similarity: gather the similarity of every pair of blocks too; `output` may hold a
            calibration without, whose samples are then run once more.
        gradients: measure gains too, as for a recipe by gradient, where the folder does not hold
            them yet; needs the whole transformer and its activations on the device.
        on_progress: told how it goes.
        on_gradients: called with (samples run, samples to run) while gains are measured.
        say: called with what a user should know.

    Returns:
        the calibration, and how settled the plan is.

    Raises:
        LokrWeightingError: the model, the data or the folder cannot be used, or the model gives
            NaN or Inf time and again.
    """
    from accelerate.utils import gather_object

    recipe, stop = recipe or Recipe(), stop or Stop()
    stop.check(recipe.bins)
    gradients = gradients or recipe.by_gradient
    if gradients and offload != "none":
        raise LokrWeightingError(
            f"gradients need the whole transformer on the device; offload = {offload!r} cannot be"
        )
    state, where = joined(device)
    prepared = job.prepare(recipe.bins, where, say) if isinstance(job, Job) else job
    images = prepared.images
    collector = Collector(
        blocks=prepared.blocks,
        linears=prepared.linears,
        settings=prepared.settings,
        recipe=recipe,
        budget=budget,
        selection=None if blocks is None else read_selection(blocks, prepared.blocks),
        stop=stop,
        skipped={problem.name: problem.reason for problem in images.problems},
        on_progress=on_progress,
        processes=state.num_processes,
        similarity=similarity,
    )
    try:
        collector.resume(from_main(state.is_main_process, collector.open, output))
        if not collector.judge_if_due():
            last = stop.samples or stop.most
            own = range(state.process_index, last, state.num_processes)
            rest = [index for index in own if index >= collector.count]
            runner = JobRunner(prepared, rest, offload=offload)
            broken = gather_object(list(runner.broken.values()))
            collector.skipped |= {problem.name: problem.reason for problem in broken}
            with Probe(runner.transformer, similarity=similarity) as probe:
                while not collector.judge_if_due():
                    _measure_to(collector.next_target(), collector, runner, probe, own.step)
        calibration = collector.finish()
        gains = from_main(state.is_main_process, read_own_gains, output, prepared.settings)
        if gradients and gains is None:
            count = max(collector.count, GRADIENT_SAMPLES)
            gains = gains_of_job(prepared, count, state=state, on_progress=on_gradients)
            from_main(state.is_main_process, write_gains, output / GAINS, gains, prepared.settings)
        return replace(calibration, gains=gains), collector.settled
    finally:
        collector.close()


def _measure_to(
    target: int, collector: Collector, runner: JobRunner, probe: Probe, processes: int
) -> None:
    """Measure up to `target` samples; one for each process between two exchanges."""
    while collector.count < target:
        row = range(collector.count, min(collector.count + processes, target))
        own = [(i, runner.measure(i, probe)) for i in row if i in runner.samples]
        collector.add(in_order(own))


def calibrate(
    model: nn.Module,
    batches: Iterable[Any],
    forward: Callable[[nn.Module, Any, Tensor], Any],
    *,
    recipe: Recipe | None = None,
    budget: str | None = None,
    blocks: str | None = None,
    stop: Stop | None = None,
    seed: int = 0,
    text_mask: Callable[[Any], Tensor] | None = None,
    similarity: bool = False,
    bar: bool = True,
    on_progress: Progress = lambda *_: None,
) -> Calibration:
    """Calibrate with a training loop's own batches and forward.

    It is kept in memory; `write_calibration` writes it to a folder that every command reads.

    Args:
        model: the transformer, as it will be trained; it is not changed.
        batches: the batches, e.g. a data loader; begun again when they end.
        forward: called as forward(model, batch, timesteps) with timesteps (batch,) in (0, 1), where
            1 is pure noise; must noise the batch to them and run the model once.
        recipe: the recipe of the plan that must settle.
        budget: its budget.
        blocks: its part of the model, as in `make_plan`; every block is measured all the same.
        stop: when to stop.
        seed: decides the timesteps; what else is random is the caller's.
        text_mask: gives a batch's real caption tokens, (batch, tokens) of bool.
        similarity: gather the similarity of every pair of blocks too.
        bar: show a progress bar, where standard error is a terminal.
        on_progress: told how it goes.

    Raises:
        LokrWeightingError: there are no batches, a block did not run, or the model gives NaN or
            Inf time and again.
    """
    from accelerate.utils import find_batch_size

    recipe = recipe or Recipe()
    device = next(model.parameters()).device
    endless = _endless(batches)
    with (
        # tqdm's None: only where standard error is a terminal
        tqdm(desc="measuring", unit="sample", disable=None if bar else True) as shown,
        evaluating(model),
        Probe(model, similarity=similarity) as probe,
        torch.no_grad(),
    ):

        def progress(samples: int, next_check: int, settled: Settled | None) -> None:
            shown.total = next_check
            shown.set_postfix({} if settled is None else {"settled": f"{settled.near:.0%}"})
            shown.update(samples - shown.n)
            on_progress(samples, next_check, settled)

        collector = Collector(
            blocks=block_names(model),
            linears=block_linears(model),
            settings={"model": type(model).__name__, "seed": seed, "bins": recipe.bins},
            recipe=recipe,
            budget=budget,
            selection=None if blocks is None else read_selection(blocks, block_names(model)),
            stop=stop or Stop(),
            on_progress=progress,
        )
        while not collector.judge_if_due():
            target = collector.next_target()
            while collector.count < target:
                batch = next(endless)
                first = collector.count
                numbers = range(first, first + (find_batch_size(batch) or 1))
                timesteps = [stratified_timestep(seed, number, recipe.bins) for number in numbers]
                distances = probe.measure(
                    partial(forward, model, batch, torch.tensor(timesteps, device=device)),
                    samples=numbers,
                    text_mask=None if text_mask is None else text_mask(batch),
                )
                measured = measured_of(distances, collector.blocks, timesteps, first)
                collector.add(measured[: target - first])
    return collector.finish()


def _endless(batches: Iterable[Any]) -> Iterator[Any]:
    while True:
        empty = True
        for batch in batches:
            empty = False
            yield batch
        if empty:
            raise LokrWeightingError("there are no more batches: give a data loader or a list")
