"""Measuring an ablation on a folder of images."""

from collections.abc import Callable, Sequence

import numpy as np

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.job import Job, PreparedJob
from lokr_weighting.measure.probe import Probe
from lokr_weighting.measure.runner import JobRunner
from lokr_weighting.models.blocks import places_in_lists
from lokr_weighting.models.loading import Offload
from lokr_weighting.processes import in_order, joined
from lokr_weighting.records.average import bin_of
from lokr_weighting.records.record import Record, stack_records
from lokr_weighting.studies.ablation import BINS, Ablation, Change
from lokr_weighting.studies.strategies import Kind, Strategy, executed


def standard_strategies(blocks: Sequence[str]) -> list[Strategy]:
    """Each block skipped; each list's middle half skipped, repeated, reversed, in parallel.

    Args:
        blocks: the model's blocks.
    """
    counts = {path: len(places) for path, places in places_in_lists(blocks).items()}
    strategies = [
        Strategy("skip", path, index, index)
        for path, count in counts.items()
        for index in range(count)
    ]
    kinds: tuple[Kind, ...] = ("skip", "repeat", "reverse", "parallel")
    for path, count in counts.items():
        first, last = count // 4, count - count // 4 - 1
        if last > first:
            strategies += [Strategy(kind, path, first, last) for kind in kinds]
    return strategies


def ablate_folder(
    job: Job | PreparedJob,
    strategies: Sequence[Strategy] | None = None,
    *,
    samples: int = 40,
    device: str | None = None,
    offload: Offload = "none",
    on_progress: Callable[[int, int], None] = lambda *_: None,
    say: Callable[[str], None] = lambda _: None,
) -> Ablation:
    """Measure strategies on a folder of images.

    Under `accelerate launch` every process runs its share, and all return the same.

    Args:
        job: model and data, as for a calibration, prepared or not.
        strategies: what to try; by default `standard_strategies`.
        samples: how many (image, caption, timestep); at least two for each of ten timestep bins.
        device: "cuda", "cpu", ...; by default a GPU where there is one.
        offload: as for a calibration.
        on_progress: called with (forwards done, forwards in all) of this process.
        say: called with what a user should know of the folder, in the main process.

    Raises:
        LokrWeightingError: too few samples, or the model cannot run a strategy.
    """
    if samples < 2 * BINS:
        raise LokrWeightingError(
            f"samples = {samples}: {BINS} timestep bins need at least {2 * BINS}"
        )
    state, where = joined(device)
    told = say if state.is_main_process else lambda _: None
    prepared = job.prepare(BINS, where, told) if isinstance(job, Job) else job
    chosen = list(standard_strategies(prepared.blocks) if strategies is None else strategies)
    own = range(state.process_index, samples, state.num_processes)
    total = len(own) * (len(chosen) + 1)
    runner = JobRunner(prepared, own, offload=offload)
    # run otherwise, the blocks are not in the order that a probe expects
    with Probe(runner.transformer) as probe:
        records = in_order([(index, _record(runner, index, probe)) for index in own])
    base = _losses(runner, own)
    on_progress(len(own), total)
    losses = []
    for number, strategy in enumerate(chosen, start=1):
        losses.append(_losses_with(strategy, runner, own))
        on_progress(len(own) * (number + 1), total)
    stacked = stack_records(records)
    bins = bin_of(stacked.timesteps, BINS)
    return Ablation(
        prepared.job.model,
        samples,
        prepared.blocks,
        float(base.mean()),
        tuple(
            _change(strategy, loss - base, bins)
            for strategy, loss in zip(chosen, losses, strict=True)
        ),
        stacked.image.mean(axis=0),
        stacked.text.mean(axis=0),
    )


def _record(runner: JobRunner, index: int, probe: Probe) -> Record:
    measured = runner.measure(index, probe)
    if not isinstance(measured, Record):
        raise LokrWeightingError(f"{measured.block} gives NaN or Inf: try another dtype")
    return measured


def _losses(runner: JobRunner, own: Sequence[int]) -> np.ndarray:
    """The losses of all processes' samples; `own` are this one's."""
    return np.array(in_order([(index, runner.loss(index)) for index in own]))


def _losses_with(strategy: Strategy, runner: JobRunner, own: Sequence[int]) -> np.ndarray:
    try:
        with executed(runner.transformer, strategy):
            return _losses(runner, own)
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
