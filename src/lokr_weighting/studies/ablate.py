"""Measuring an ablation on a folder of images."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

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
from lokr_weighting.studies.ablation import BINS, Ablation, Change, Refused, Seen
from lokr_weighting.studies.groups import Grouping
from lokr_weighting.studies.painters import ORDERS, group_strategies, spans_of
from lokr_weighting.studies.strategies import TIMES, Kind, Strategy, executed

IN_ANOTHER_PLACE: tuple[Kind, ...] = ("repeat", "reverse", "random order", "replace")


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
    keep_going: bool = False,
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
        keep_going: note a strategy that the model cannot run, and run the others.
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
    state, _ = joined(device)
    prepared = _prepared(job, device, say)
    chosen = list(standard_strategies(prepared.blocks) if strategies is None else strategies)
    own = range(state.process_index, samples, state.num_processes)
    total = len(own) * (len(chosen) + 1)
    runner = JobRunner(prepared, own, offload=offload)
    # run otherwise, the blocks are not in the order that a probe expects
    with Probe(runner.transformer) as probe:
        records = in_order([(index, _record(runner, index, probe)) for index in own])
    base = _losses(runner, own)
    if not np.isfinite(base).all():
        raise LokrWeightingError(f"{prepared.job.model}: its loss is NaN or Inf: try another dtype")
    on_progress(len(own), total)
    stacked = stack_records(records)
    bins = bin_of(stacked.timesteps, BINS)
    silent = {
        name
        for name, text in zip(prepared.blocks, stacked.text.T, strict=True)
        if np.isnan(text).all()
    }
    changes: list[Change] = []
    refused: list[Refused] = []
    for number, strategy in enumerate(chosen, start=1):
        try:
            losses = _losses_with(strategy, runner, own)
            changes.append(_change(strategy, losses - base, bins))
        except _CannotRunError as error:
            reason = _reason(strategy, str(error), silent)
            if not keep_going:
                raise LokrWeightingError(f"{strategy.label}: {reason}") from error
            refused.append(Refused(strategy, reason))
        on_progress(len(own) * (number + 1), total)
    if refused and not changes:
        raise LokrWeightingError(f"{refused[0].strategy.label}: {refused[0].reason}")
    return Ablation(
        prepared.job.model,
        samples,
        prepared.blocks,
        float(base.mean()),
        tuple(changes),
        stacked.image.mean(axis=0),
        stacked.text.mean(axis=0),
        tuple(refused),
        samples_seen=Seen(
            stacked.timesteps,
            base,
            *(
                np.stack([stream[bins == each].mean(axis=0) for each in range(BINS)])
                for stream in (stacked.image, stacked.text)
            ),
        ),
    )


def ablate_groups(
    job: Job | PreparedJob,
    blocks: Sequence[str],
    groupings: Sequence[Grouping],
    *,
    samples: int = 40,
    loops: int = TIMES,
    orders: int = ORDERS,
    device: str | None = None,
    offload: Offload = "none",
    on_progress: Callable[[int, int], None] = lambda *_: None,
    say: Callable[[str], None] = lambda _: None,
) -> Ablation:
    """The painters' experiments on the groups that `similarity` found.

    A strategy that the model cannot run is noted with its reason.

    Args:
        job: as for `ablate_folder`.
        blocks: the blocks of the model in which the groups were found.
        groupings: the groups.
        samples: as for `ablate_folder`.
        loops: how often the looped parallel runs a group.
        orders: how many random orders of a group.
        device: as for `ablate_folder`.
        offload: the same.
        on_progress: the same.
        say: the same.

    Raises:
        LokrWeightingError: as `ablate_folder`, or the groups are of another model.
    """
    prepared = _prepared(job, device, say)
    if tuple(blocks) != tuple(prepared.blocks):
        raise LokrWeightingError(
            f"the groups are of another model: {len(blocks)} blocks, {blocks[0]} ..., where "
            f"{prepared.job.model} has {len(prepared.blocks)}, {prepared.blocks[0]} ...; run "
            "similarity on a calibration of this one"
        )
    spans = spans_of(groupings, prepared.blocks)
    if not spans:
        raise LokrWeightingError("there are no groups, and no list of two blocks or more")
    ablation = ablate_folder(
        prepared,
        group_strategies(spans, prepared.blocks, loops=loops, orders=orders),
        samples=samples,
        keep_going=True,
        device=device,
        offload=offload,
        on_progress=on_progress,
    )
    return replace(ablation, spans=tuple(spans))


def _prepared(
    job: Job | PreparedJob, device: str | None, say: Callable[[str], None]
) -> PreparedJob:
    """The job prepared; what its folder is like is said once."""
    state, where = joined(device)
    told = say if state.is_main_process else lambda _: None
    return job.prepare(BINS, where, told) if isinstance(job, Job) else job


class _CannotRunError(Exception):
    """The model cannot be run by a strategy."""


def _reason(strategy: Strategy, error: str, silent: Collection[str]) -> str:
    """Why a strategy cannot be run."""
    own = (f"{strategy.path}.{place}" for place in range(strategy.first, strategy.last + 1))
    without = [name for name in own if name in silent]
    if without and strategy.kind in IN_ANOTHER_PLACE:
        return (
            f"the model cannot be run like this: {without[0]} hands no text on to a block that "
            f"comes after it ({error})"
        )
    return f"the model cannot be run like this ({error})"


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
            losses = _losses(runner, own)
    except LokrWeightingError:
        raise
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise _CannotRunError(str(error)) from error
    if not np.isfinite(losses).all():
        raise _CannotRunError("its loss is NaN or Inf")
    return losses


def _change(strategy: Strategy, differences: np.ndarray, bins: np.ndarray) -> Change:
    """The mean over the bins, each counted alike, with its standard error."""
    rows = [differences[bins == each] for each in range(BINS)]
    means = np.array([row.mean() for row in rows])
    errors = np.array([row.std(ddof=1) / np.sqrt(len(row)) for row in rows])
    error = float(np.sqrt(np.square(errors).sum()) / BINS)
    return Change(strategy, float(means.mean()), error, means, errors, differences)
