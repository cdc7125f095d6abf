"""Calibration: draw samples, run them, keep the records, stop when the plan is settled."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, no_grad
from tqdm.auto import tqdm

from lokr_weighting.data.samples import noise_seed, stratified_timestep
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.collector import Collector, Progress
from lokr_weighting.measure.distances import measured_of
from lokr_weighting.measure.gradients import gains_of_job
from lokr_weighting.measure.job import Job, PreparedJob
from lokr_weighting.measure.known_forward import KnownForward
from lokr_weighting.measure.own_batches import content_of, numbered
from lokr_weighting.measure.probe import Probe
from lokr_weighting.measure.runner import JobRunner
from lokr_weighting.measure.stop import Stop
from lokr_weighting.models.blocks import block_linears, block_names
from lokr_weighting.models.identity import module_fingerprint
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
    forward: Callable[[nn.Module, Any, Tensor], Any] | None = None,
    *,
    recipe: Recipe | None = None,
    budget: str | None = None,
    blocks: str | None = None,
    stop: Stop | None = None,
    seed: int = 0,
    text_mask: Callable[[Any], Tensor | None] | None = None,
    scheduler: Any = None,
    similarity: bool = False,
    bar: bool = True,
    on_progress: Progress = lambda *_: None,
    cache: Path | str | None = None,
    data: str | None = None,
) -> Calibration:
    """Calibrate with a training loop's own batches and forward.

    With `cache` it is kept in a folder that every command reads: a finished calibration there is
    reused, one that was interrupted goes on. Without it is kept in memory; `calibration.save`
    writes it to such a folder.

    Args:
        model: the transformer, as it will be trained; it is not changed.
        batches: the batches, e.g. a data loader; begun again when they end.
        forward: called as forward(model, batch, timesteps) with timesteps (batch,) in (0, 1), where
            1 is pure noise; must noise the batch to them and run the model once. None: what the
            model's pipeline does with a dictionary of `latents`, `prompt_embeds`, ... (see
            `KnownForward`), with noise that the seed decides.
        recipe: the recipe of the plan that must settle.
        budget: its budget.
        blocks: its part of the model, as in `make_plan`; every block is measured all the same.
        stop: when to stop.
        seed: decides the timesteps; what else is random in a forward of your own is yours.
        text_mask: gives a batch's real caption tokens, (batch, tokens) of bool.
        scheduler: without a forward, the noise scheduler of a model that was trained on a noise
            schedule (SDXL, Stable Diffusion 1.5, PixArt); its schedule counts, not how it samples.
        similarity: gather the similarity of every pair of blocks too.
        bar: show a progress bar, where standard error is a terminal or in a notebook.
        on_progress: told how it goes.
        cache: the calibration's folder. It is of this model, seed and these batches, as far as they
            can be known: their content where they are in a list, else their number. Of several
            processes one alone may use it.
        data: what to call the batches; a cache of batches called otherwise is refused.

    Raises:
        LokrWeightingError: there are no batches, a block did not run, the model gives NaN or Inf
            time and again, the cache holds something else, or without a forward how to run the
            model is not known.
        OutputError: the cache cannot be written.
    """
    recipe, stop = recipe or Recipe(), stop or Stop()
    if forward is not None and scheduler is not None:
        raise LokrWeightingError(
            f"scheduler = {type(scheduler).__name__}: a forward of your own noises its batches "
            "itself: leave one of the two out"
        )
    known = KnownForward(model, scheduler) if forward is None else None
    text_mask = text_mask or (known.text_mask if known else None)

    def run(batch: Any, timesteps: Tensor, numbers: range) -> None:
        if forward is not None:
            forward(model, batch, timesteps)
        elif known is not None:
            known(batch, timesteps, [noise_seed(seed, number) for number in numbers])

    device = next(model.parameters()).device
    # tqdm's None: only where standard error is a terminal
    with tqdm(desc="measuring", unit="sample", disable=None if bar else True) as shown:

        def progress(samples: int, next_check: int, settled: Settled | None) -> None:
            shown.total = next_check
            shown.set_postfix({} if settled is None else {"settled": f"{settled.near:.0%}"})
            shown.update(samples - shown.n)
            on_progress(samples, next_check, settled)

        collector = Collector(
            blocks=block_names(model),
            linears=block_linears(model),
            settings={
                "model": type(model).__name__,
                "seed": seed,
                "bins": recipe.bins,
                "weights": module_fingerprint(model),
                "batches": content_of(batches),
                **(known.settings if known else {}),
                **({} if data is None else {"data": data}),
            },
            recipe=recipe,
            budget=budget,
            selection=None if blocks is None else read_selection(blocks, block_names(model)),
            stop=stop,
            on_progress=progress,
            similarity=similarity,
        )
        try:
            if cache is not None:
                collector.resume(collector.open(Path(cache)))
            if not collector.judge_if_due():
                with evaluating(model), Probe(model, similarity=similarity) as probe, no_grad():
                    rest = numbered(batches, stop, recipe.bins, collector.count)
                    while not collector.judge_if_due():
                        numbers, wanted, batch = next(rest)
                        shares = [stratified_timestep(seed, each, recipe.bins) for each in numbers]
                        timesteps = torch.tensor(shares, device=device)
                        mask = None if text_mask is None else text_mask(batch)
                        distances = probe.measure(
                            partial(run, batch, timesteps, numbers), samples=numbers, text_mask=mask
                        )
                        measured = measured_of(distances, collector.blocks, shares, numbers.start)
                        collector.add([each for each in measured if each.sample in wanted])
            calibration = collector.finish()
            if cache is None:
                return calibration
            own = read_own_gains(Path(cache), collector.settings)
            return replace(calibration, gains=own)
        finally:
            collector.close()
