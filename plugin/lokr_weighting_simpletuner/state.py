"""Leaving a run as it was: everything that measuring touches is put back."""

import random
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy, deepcopy
from typing import Any

import numpy as np
import torch

from lokr_weighting.models.loading import evaluating

COUNTED = ("epoch", "epoch_step", "repeats", "exhausted_backends", "dataset_schedule")
"""What SimpleTuner's StateTracker counts while batches are drawn."""


@contextmanager
def kept(trainer: Any) -> Iterator[None]:
    """Put back random states, what SimpleTuner has counted, the model's place and mode.

    Args:
        trainer: SimpleTuner's trainer, with its data backends ready and its model loaded.
    """
    with ExitStack() as stack:
        stack.enter_context(_kept_random(trainer.accelerator.device))
        stack.enter_context(_kept_attributes(trainer.model))
        stack.enter_context(kept_data())
        stack.enter_context(_in_place_to_run(trainer))
        yield


@contextmanager
def kept_data() -> Iterator[None]:
    """Put back what SimpleTuner counts of its data sets: epochs, repeats, which were reached."""
    from simpletuner.helpers.data_backend.runtime import dataloader_iterator
    from simpletuner.helpers.training.state_tracker import StateTracker

    with ExitStack() as stack:
        stack.enter_context(_kept_items(dataloader_iterator._SCALED_SAMPLERS))
        stack.enter_context(_kept_class_attributes(StateTracker, COUNTED))
        yield


@contextmanager
def _kept_random(device: torch.device) -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    # this process's own device alone: asking the others would open them
    devices = [] if device.type == "cpu" else [device]
    kind = device.type if devices else "cuda"
    try:
        with torch.random.fork_rng(devices=devices, device_type=kind):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def _kept_attributes(owner: Any) -> Iterator[None]:
    """Every attribute of an object, and what its plain containers hold."""
    before = {name: _copied(value) for name, value in vars(owner).items()}
    try:
        yield
    finally:
        vars(owner).clear()
        vars(owner).update(before)


@contextmanager
def _kept_class_attributes(owner: type, names: Iterable[str]) -> Iterator[None]:
    before = {name: deepcopy(getattr(owner, name)) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


@contextmanager
def _kept_items(items: Any) -> Iterator[None]:
    """A dictionary's items; the dictionary itself stays the same object."""
    before = dict(items)
    try:
        yield
    finally:
        items.clear()
        items.update(before)


@contextmanager
def _in_place_to_run(trainer: Any) -> Iterator[None]:
    """The transformer where SimpleTuner runs it, in eval mode; then back as it was."""
    model = trainer.model.get_trained_component()
    was_on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
    trainer.move_models(destination="accelerator")
    try:
        with evaluating(model):
            yield
    finally:
        if was_on_cpu and trainer.accelerator.device.type != "cpu":
            model.to("cpu")
            torch.accelerator.empty_cache()


def _copied(value: Any) -> Any:
    return copy(value) if isinstance(value, list | dict | set) else value
