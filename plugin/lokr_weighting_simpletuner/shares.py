"""How much of a run's training each of its data sets gives: SimpleTuner's own choice, counted."""

import math
from collections import Counter
from typing import Any

from lokr_weighting.errors import LokrWeightingError

MOST_BATCHES = 100_000
"""Of a longer run so many are counted, from its beginning."""


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
    with repeats, and from and up to the steps and epochs that they are scheduled for.
    What it counts in the StateTracker is left changed.

    Args:
        trainer: SimpleTuner's trainer.
        backends: the data sets that training draws from, by name.

    Raises:
        LokrWeightingError: training would find no data set to begin with.
    """
    from simpletuner.helpers.data_backend.runtime.dataloader_iterator import (
        random_dataloader_iterator,
    )
    from simpletuner.helpers.training.state_tracker import StateTracker

    config = trainer.config
    wanted = min(config.max_train_steps * config.gradient_accumulation_steps, MOST_BATCHES)
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
