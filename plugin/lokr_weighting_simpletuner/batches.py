"""The run's own batches, drawn as its training draws them, and run through its model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.distances import Distances
from lokr_weighting.measure.forward import token_mask
from lokr_weighting.measure.probe import Probe

TIMESTEPS = 1000.0
SMALLEST = 2 / TIMESTEPS  # SimpleTuner takes timesteps up to 1 for sigmas


class Batches:
    """Draws the batches of one process, in the order of its own sampler.

    Batch k is a function of the seed, the process and k, given the batches before it: whoever
    draws them all again gets the same.

    Args:
        trainer: SimpleTuner's trainer.
        seed: decides the batches and their noise.
    """

    def __init__(self, trainer: Any, seed: int) -> None:
        self.trainer, self.seed = trainer, seed
        self.drawn = 0

    def draw(self) -> Any:
        """The next batch; epochs begin again when they end.

        Raises:
            LokrWeightingError: the run's dataset gives no batch.
        """
        from simpletuner.helpers.data_backend.runtime.dataloader_iterator import (
            random_dataloader_iterator,
        )

        process = self.trainer.accelerator.process_index
        words = np.random.SeedSequence([self.seed, process, self.drawn]).generate_state(1)
        set_seed(int(words[0]))
        self.drawn += 1
        for _ in range(2):  # the second time after the end of an epoch
            backends = self._backends()
            if not backends:
                break
            raw = random_dataloader_iterator(self.drawn, backends, update_epoch_step=False)
            if raw:
                return raw
        raise LokrWeightingError("the run's dataset gives no batch to measure")

    def _backends(self) -> dict[str, Any]:
        """The data loaders that training would draw from."""
        from simpletuner.helpers.training.state_tracker import StateTracker

        without = self.trainer.config.eval_dataset_id or []
        without = [without] if isinstance(without, str) else without
        return {
            name: backend["train_dataloader"]
            for name, backend in StateTracker.get_data_backends().items()
            if "train_dataloader" in backend
            and name not in without
            and not StateTracker.backend_status(name)
        }


def size_of(raw: dict[str, Any]) -> int:
    """How many samples a batch has."""
    return raw["latent_batch"].shape[0]


@torch.no_grad()
def run_batch(
    trainer: Any, probe: Probe, raw: dict[str, Any], timesteps: Sequence[float], first: int
) -> Distances:
    """Noise a batch to these timesteps and run the model once.

    Args:
        trainer: SimpleTuner's trainer.
        probe: on its model, entered.
        raw: the batch.
        timesteps: (batch,), each in [SMALLEST, 1].
        first: the number of the batch's first sample.
    """
    prepared = trainer.prepare_batch(raw)
    # would run the model several times
    prepared.pop("scheduled_sampling_plan", None)
    scheduled = [timestep * TIMESTEPS for timestep in timesteps]

    def predict() -> None:
        with trainer.accelerator.autocast():
            trainer.model_predict(prepared, custom_timesteps=scheduled)

    mask = prepared.get("encoder_attention_mask")
    return probe.measure(
        predict,
        samples=range(first, first + len(timesteps)),
        text_mask=None if mask is None else token_mask(mask, prepared["encoder_hidden_states"]),
    )
