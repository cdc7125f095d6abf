"""Leaving a run as it was: everything that measuring touches is put back."""

import random
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from typing import Any

import numpy as np
import torch

from lokr_weighting.models.loading import evaluating


@contextmanager
def kept(trainer: Any) -> Iterator[None]:
    """Put back random states, samplers, seen images, repeats, the model's place and mode.

    Args:
        trainer: SimpleTuner's trainer, with its data backends ready and its model loaded.
    """
    from simpletuner.helpers.data_backend.runtime import dataloader_iterator
    from simpletuner.helpers.training.state_tracker import StateTracker

    samplers = [
        backend["sampler"]
        for backend in StateTracker.get_data_backends().values()
        if backend.get("sampler") is not None
    ]
    with ExitStack() as stack:
        stack.enter_context(_kept_random(trainer.accelerator.device))
        stack.enter_context(_kept_attributes(trainer.model))
        for sampler in samplers:
            stack.enter_context(_kept_attributes(sampler))
            stack.enter_context(_kept_items(sampler.metadata_backend.seen_images))
            # indices into the seen images; built anew when they are missing
            stack.callback(setattr, sampler, "_unseen_indices", {})
        stack.enter_context(_kept_items(dataloader_iterator._SCALED_SAMPLERS))
        tracked = ("exhausted_backends", "repeats", "epoch_step")
        stack.enter_context(_kept_class_attributes(StateTracker, tracked))
        stack.enter_context(_in_place_to_run(trainer))
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
    before = {name: _copied(getattr(owner, name)) for name in names}
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
