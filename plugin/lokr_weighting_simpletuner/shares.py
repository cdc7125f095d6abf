"""How much of a run's training each of its data sets gives: SimpleTuner's own choice, counted."""

import math
from collections import Counter
from typing import Any

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting_simpletuner.state import kept_data

MOST_BATCHES = 100_000
"""Of a longer run so many are counted, from its beginning."""
FEWEST_BATCHES = 1000
"""A shorter run is counted again until there are so many."""
OTHER_SEED = 1_000_003  # apart: SimpleTuner adds steps to its seed


class CountedLoader:
    """Stands in a data loader's place where SimpleTuner chooses one: gives a name, loads nothing.

    Args:
        name: the data set's name.
        batches: how many batches one pass over it has.
    """

    def __init__(self, name: str, batches: int) -> None:
        self.name, self.batches = name, batches
        self.left = batches

    def get_data_loader(self) -> str:
        """The next batch, by the name of its data set; SimpleTuner calls it so.

        Raises:
            MultiDatasetExhausted: the pass is over; the next call begins another.
        """
        from simpletuner.helpers.training.exceptions import MultiDatasetExhausted

        if not self.left:
            self.left = self.batches
            raise MultiDatasetExhausted
        self.left -= 1
        return self.name


def batches_of_run(trainer: Any, backends: dict[str, Any]) -> Counter[str]:
    """How many batches of each data set the run trains on, in one process.

    SimpleTuner's iterator chooses the data sets as in training: by probability, size and slider,
    with repeats, and from and up to the steps and epochs that they are scheduled for. A run that
    is too short to tell is counted several times, with other seeds.

    Args:
        trainer: SimpleTuner's trainer.
        backends: the data sets that training draws from, by name.

    Raises:
        LokrWeightingError: training would find no data set to begin with.
    """
    from simpletuner.helpers.training.state_tracker import StateTracker

    config = trainer.config
    steps = min(config.max_train_steps * config.gradient_accumulation_steps, MOST_BATCHES)
    args: Any = StateTracker.get_args()
    seed = args.seed
    counts: Counter[str] = Counter()
    try:
        for again in range(math.ceil(FEWEST_BATCHES / steps)):
            args.seed = (seed or 0) + again * OTHER_SEED
            with kept_data():
                counts += _batches(backends, steps)
    finally:
        args.seed = seed
    return counts


def _batches(backends: dict[str, Any], wanted: int) -> Counter[str]:
    """The data sets of so many batches; what the StateTracker counts is left changed."""
    from simpletuner.helpers.data_backend.runtime.dataloader_iterator import (
        random_dataloader_iterator,
    )
    from simpletuner.helpers.training.state_tracker import StateTracker

    loaders = {name: CountedLoader(name, _in_a_pass(each)) for name, each in backends.items()}
    counts: Counter[str] = Counter()
    step, epoch = 0, 1
    while counts.total() < wanted:
        before = counts.total()
        StateTracker.set_epoch(epoch)
        ready = {
            name: loader
            for name, loader in loaders.items()
            if not StateTracker.backend_status(name)
        }
        while ready and counts.total() < wanted:
            step += 1
            try:
                name = random_dataloader_iterator(step, ready, update_epoch_step=False)
            except ValueError as error:
                if counts:
                    return counts  # training ends with this error there
                raise LokrWeightingError(f"training could not begin: {error}") from None
            if not name:
                break
            counts[str(name)] += 1
        if counts.total() == before:
            return counts
        epoch += 1
    return counts


def _in_a_pass(backend: dict[str, Any]) -> int:
    """A short batch at the end of a bucket is filled up from the same bucket."""
    sampler = backend["sampler"]
    buckets = sampler.metadata_backend.aspect_ratio_bucket_indices
    return sum(math.ceil(len(images) / sampler.batch_size) for images in buckets.values())
