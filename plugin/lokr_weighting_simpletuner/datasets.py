"""The run's data sets: which are measured, and what share of the samples each gives."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.processes import from_main
from lokr_weighting_simpletuner.shares import batches_of_run

SHARE_DIGITS = 4  # of a share that is counted, so that calibrations can be told apart by it
REGULARISATION = (
    "regularisation: it keeps the model as it is, so it says nothing of where to adapt it"
)
NEVER = "the run never comes to it"


@dataclass(frozen=True)
class DataSet:
    """A data set that the run trains on.

    Attributes:
        name: its id in SimpleTuner's configuration.
        images: how many it has.
        share: of the samples that are measured.
        left_out: why nothing of it is measured.
    """

    name: str
    images: int
    share: float
    left_out: str | None = None


def training_backends(config: Any) -> dict[str, Any]:
    """What training draws batches from, by name; SimpleTuner's own condition.

    Raises:
        LokrWeightingError: a data set has captions alone.
    """
    from simpletuner.helpers.training.state_tracker import StateTracker

    without = config.eval_dataset_id or []
    without = [without] if isinstance(without, str) else without
    backends = {
        name: backend
        for name, backend in StateTracker.get_data_backends().items()
        if "train_dataloader" in backend and name not in without
    }
    for name, backend in backends.items():
        if backend.get("dataset_type") == "caption":
            raise LokrWeightingError(
                f"data set {name!r} has captions and no images, so its samples cannot be measured: "
                "take it out, or train without this plugin"
            )
    return backends


def datasets_of(trainer: Any) -> tuple[DataSet, ...]:
    """The run's data sets, the same in all processes.

    Measured is what the run trains on, weighted as it trains on it: a set that comes twice as
    often gives twice as many samples. Regularisation is left out: the base model's own
    predictions are trained there, so that the adapter changes nothing.

    Raises:
        LokrWeightingError: nothing is left to measure.
    """
    return from_main(trainer.accelerator.is_main_process, _datasets, trainer)


def _datasets(trainer: Any) -> tuple[DataSet, ...]:
    backends = training_backends(trainer.config)
    if len(backends) == 1:
        trained = Counter(list(backends))
    else:
        batches = batches_of_run(trainer, backends)
        trained = Counter(
            {name: batches[name] * each["sampler"].batch_size for name, each in backends.items()}
        )
    left_out = {name: _left_out(each, trained[name]) for name, each in backends.items()}
    total = sum(count for name, count in trained.items() if left_out[name] is None)
    if not total:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise LokrWeightingError(f"the run has no data to measure ({reasons})")
    return tuple(
        DataSet(
            name,
            len(each["metadata_backend"].get_metadata()),
            0.0 if left_out[name] else round(trained[name] / total, SHARE_DIGITS),
            left_out[name],
        )
        for name, each in backends.items()
    )


def _left_out(backend: dict[str, Any], trained: int) -> str | None:
    if backend["sampler"].is_regularisation_data:
        return REGULARISATION
    return None if trained else NEVER


def dataset_of(sample: int, datasets: Sequence[DataSet], seed: int) -> str:
    """The data set that a sample is drawn from: a function of seed and sample alone."""
    shares = np.array([each.share for each in datasets])
    place = np.random.default_rng([seed, sample]).choice(len(shares), p=shares / shares.sum())
    return datasets[place].name


def datasets_table(datasets: Sequence[DataSet], samples: int, seed: int) -> Table:
    """How many of a calibration's samples each data set gave."""
    given = Counter(dataset_of(sample, datasets, seed) for sample in range(samples))
    table = Table(title=f"What the {samples} samples are of", title_justify="left", box=box.SIMPLE)
    for name in ("data set", "images", "share", "samples"):
        table.add_column(name, justify="left" if name == "data set" else "right")
    table.add_column("")
    for each in datasets:
        note = "" if each.left_out is None else f"left out ({each.left_out})"
        numbers = f"{each.images:,}", f"{each.share:.1%}", f"{given[each.name]:,}"
        table.add_row(escape(each.name), *numbers, note)
    return table
