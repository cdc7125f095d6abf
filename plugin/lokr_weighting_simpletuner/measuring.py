"""The calibration inside a run: reuse a finished one, or measure the run's own batches."""

import os
from functools import partial
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from tqdm import tqdm

from lokr_weighting.data.samples import stratified_timestep
from lokr_weighting.files import read_json
from lokr_weighting.measure.collector import Collector
from lokr_weighting.measure.distances import measured_of
from lokr_weighting.measure.probe import Probe
from lokr_weighting.measure.stop import Stop
from lokr_weighting.models.blocks import block_linears, block_names
from lokr_weighting.plan.recipe import Recipe
from lokr_weighting.plan.settled import Settled
from lokr_weighting.processes import from_main, is_main, raise_together, tried
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.records.record import Measured
from lokr_weighting.records.store import SETTINGS, SUMMARY, read_calibration
from lokr_weighting_simpletuner.batches import SMALLEST, Batches, run_batch, size_of
from lokr_weighting_simpletuner.identity import how_it_is_drawn, name_of, what_is_measured
from lokr_weighting_simpletuner.log import logger
from lokr_weighting_simpletuner.settings import Settings
from lokr_weighting_simpletuner.state import kept

FOLDERS = "calibration-"


def calibrate_run(
    trainer: Any, settings: Settings, recipe: Recipe, folder: Path
) -> tuple[Calibration, Settled | None]:
    """The calibration of this run's model and data, and how settled the plan is.

    All processes return the same.

    Args:
        trainer: SimpleTuner's trainer, right before it creates the adapter.
        settings: the run's settings.
        recipe: the recipe of the plan that must settle.
        folder: where calibrations are kept, each in a folder of its own.

    Raises:
        LokrWeightingError: the dataset gives no batches, the model cannot be measured, or gives
            NaN or Inf time and again.
    """
    model = trainer.model.get_trained_component()
    main = trainer.accelerator.is_main_process
    what, finished = from_main(main, _look_around, trainer, settings, recipe, folder)
    collector = partial(
        Collector,
        blocks=block_names(model),
        linears=block_linears(model),
        settings={**what, **how_it_is_drawn(trainer)},
        recipe=recipe,
        budget=settings.budget,
        stop=Stop(samples=settings.samples, most=settings.max_samples),
        processes=trainer.accelerator.num_processes,
        similarity=settings.similarity,
    )
    for path, measured in finished:
        reused = collector()
        reused.resume(measured)
        if reused.judge_if_due():
            logger().info(f"Reusing the finished calibration in {path} ({reused.count} samples).")
            return reused.finish(), reused.settled
    anew = collector()
    own = _own_folder(folder, name_of(anew.settings), settings.reuse)
    try:
        before = from_main(main, anew.open, own)
        anew.resume(before)
        if before:
            logger().info(f"Resuming the calibration in {own} after {anew.count} samples.")
        _measure(trainer, anew, settings.seed)
        return anew.finish(), anew.settled
    except KeyboardInterrupt:
        logger().warning(f"Interrupted; what was measured is kept in {own} and resumed next time.")
        raise
    finally:
        anew.close()


def _look_around(
    trainer: Any, settings: Settings, recipe: Recipe, folder: Path
) -> tuple[dict[str, Any], list[tuple[Path, list[Measured]]]]:
    """What is to be measured, and the finished calibrations that it could be planned from."""
    what = dict(what_is_measured(trainer, settings.seed, recipe.bins))
    if not settings.reuse:
        return what, []
    finished = _finished(folder, what)
    if not finished:
        _say_why_anew(folder, what)
    return what, finished


def _own_folder(folder: Path, name: str, reuse: bool) -> Path:
    """Where to measure: what is there is resumed, or left alone if nothing is to be reused."""
    path = folder / f"{FOLDERS}{name}"
    number = 2
    while not reuse and (path / SUMMARY).exists():
        path = folder / f"{FOLDERS}{name}-{number}"
        number += 1
    return path


def _measure(trainer: Any, collector: Collector, seed: int) -> None:
    """Measure until it is enough; the run is as before afterwards.

    Samples are numbered in the order of processes and batches. What a resumed collector already
    has is drawn again, so that the rest is what it would have been, but not run again.
    """
    accelerator, bins = trainer.accelerator, collector.recipe.bins
    position = 0
    model = trainer.model.get_trained_component()
    with kept(trainer), Probe(model, similarity=collector.similarity) as probe, _bar() as bar:
        batches = Batches(trainer, seed)
        while not collector.judge_if_due():
            raw, error = tried(batches.draw)
            raise_together(error)
            sizes = gather_object([size_of(raw)])
            first, target = position, collector.stop.next_check(position + 1, bins)
            position = min(position + sum(sizes), target)
            if position <= collector.count:
                continue
            number = first + sum(sizes[: accelerator.process_index])
            timesteps = [
                max(stratified_timestep(seed, number + row, bins), SMALLEST)
                for row in range(size_of(raw))
            ]
            distances, error = tried(run_batch, trainer, probe, raw, timesteps, number)
            raise_together(error)
            # in the order of the processes, which is that of the samples
            measured = gather_object(measured_of(distances, collector.blocks, timesteps, number))
            new = measured[collector.count - first : position - first]
            raise_together(tried(collector.add, new)[1])
            bar.total = collector.next_check
            bar.update(collector.count - bar.n)
            settled = collector.settled
            bar.set_postfix_str("" if settled is None else f"{settled.near:.0%} settled")


def _bar() -> Any:
    """A progress bar like those of SimpleTuner."""
    return tqdm(
        desc="Measuring blocks",
        unit="sample",
        ncols=int(os.environ.get("TQDM_NCOLS", "125")),
        disable=not is_main(),
    )


def _finished(folder: Path, what: dict[str, Any]) -> list[tuple[Path, list[Measured]]]:
    """The finished calibrations of the same, newest first: where they are and what they hold."""
    finished = []
    for path in _folders(folder):
        if (path / SUMMARY).exists():
            calibration = read_calibration(path)
            if _differing(calibration.settings, what) == []:
                finished.append((path, [*calibration.records, *calibration.not_finite]))
    return [(path, sorted(each, key=lambda one: one.sample)) for path, each in finished]


def _say_why_anew(folder: Path, what: dict[str, Any]) -> None:
    """Where there is a calibration of something else, say what differs."""
    for path in _folders(folder):
        before = read_json(path / SETTINGS)
        changes = [f"{key} was {before.get(key)!r}" for key in _differing(before, what)]
        if changes:
            logger().info(f"Calibrating anew: in {path.name} {', '.join(changes)}.")
            return


def _folders(folder: Path) -> list[Path]:
    folders = [path.parent for path in folder.glob(f"{FOLDERS}*/{SETTINGS}")]
    return sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)


def _differing(before: Any, what: dict[str, Any]) -> list[str]:
    return [key for key, value in what.items() if before.get(key) != value]
