"""The calibration inside a run: reuse a finished one, or measure the run's own images."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from tqdm import tqdm

from lokr_weighting.files import read_json
from lokr_weighting.measure.collector import Collector
from lokr_weighting.measure.probe import Probe
from lokr_weighting.measure.stop import Stop
from lokr_weighting.models.blocks import block_linears, block_names
from lokr_weighting.plan.recipe import Recipe
from lokr_weighting.plan.settled import Settled
from lokr_weighting.processes import from_main, is_main, raise_together, tried
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.records.reading import read_calibration
from lokr_weighting.records.record import Measured
from lokr_weighting.records.store import SETTINGS, SUMMARY
from lokr_weighting.show.console import as_text
from lokr_weighting_simpletuner.datasets import datasets_of, datasets_table
from lokr_weighting_simpletuner.identity import how_it_is_drawn, name_of, what_is_measured
from lokr_weighting_simpletuner.log import logger
from lokr_weighting_simpletuner.lost import read_again
from lokr_weighting_simpletuner.samples import Samples
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
    read_again(trainer.config)
    datasets = datasets_of(trainer)
    samples = Samples(trainer, datasets, settings.seed, recipe.bins)
    # the run is as before afterwards
    with kept(trainer):
        what, finished = from_main(main, _look_around, trainer, samples, settings, folder)
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
        found = _reused(finished, collector) or _measured(samples, collector(), settings, folder)
    calibration, settled = found
    count = len(calibration.records) + len(calibration.not_finite)
    for line in as_text(datasets_table(datasets, count, settings.seed)).splitlines():
        logger().info(line)
    return calibration, settled


def _reused(
    finished: list[tuple[Path, list[Measured]]], collector: Callable[[], Collector]
) -> tuple[Calibration, Settled | None] | None:
    """The first finished calibration that is enough for the plan."""
    for path, measured in finished:
        reused = collector()
        reused.resume(measured)
        if reused.judge_if_due():
            logger().info(f"Reusing the finished calibration in {path} ({reused.count} samples).")
            return reused.finish(), reused.settled
    return None


def _measured(
    samples: Samples, anew: Collector, settings: Settings, folder: Path
) -> tuple[Calibration, Settled | None]:
    """A calibration measured now, or gone on with."""
    own = _own_folder(folder, name_of(anew.settings), settings.reuse)
    try:
        before = from_main(samples.trainer.accelerator.is_main_process, anew.open, own)
        anew.resume(before)
        if before:
            logger().info(f"Resuming the calibration in {own} after {anew.count} samples.")
        _measure(samples, anew)
        return anew.finish(), anew.settled
    except KeyboardInterrupt:
        logger().warning(f"Interrupted; what was measured is kept in {own} and resumed next time.")
        raise
    finally:
        anew.close()


def _look_around(
    trainer: Any, samples: Samples, settings: Settings, folder: Path
) -> tuple[dict[str, Any], list[tuple[Path, list[Measured]]]]:
    """What is to be measured, and the finished calibrations that it could be planned from."""
    what = dict(what_is_measured(trainer, samples))
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


def _measure(samples: Samples, collector: Collector) -> None:
    """Measure until it is enough; every process its share of the numbers."""
    accelerator = samples.trainer.accelerator
    model = samples.trainer.model.get_trained_component()
    with Probe(model, similarity=collector.similarity) as probe, _bar() as bar:
        while not collector.judge_if_due():
            number = collector.count + accelerator.process_index
            wanted = number < collector.next_target()
            measured, error = tried(samples.measure, number, probe) if wanted else ([], None)
            raise_together(error)
            # in the order of the processes, which is that of the samples
            raise_together(tried(collector.add, gather_object(measured))[1])
            settled = collector.settled
            bar.total = collector.next_check
            bar.set_postfix_str("" if settled is None else f"{settled.near:.0%} settled", False)
            bar.update(collector.count - bar.n)


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
