"""What a calibration inside a run is of: the model, the dataset, and how it was drawn."""

import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from lokr_weighting.digests import short_digest
from lokr_weighting.records.calibration import Settings

VALUES = 64  # of every tensor that are looked at


def what_is_measured(trainer: Any, seed: int, bins: int) -> Settings:
    """What decides the distances; calibrations that agree in it may stand for each other.

    Read by one process: the others see a part of the dataset only.
    """
    config = trainer.config
    data = _datasets(config)
    return {
        "model": config.pretrained_transformer_model_name_or_path
        or config.pretrained_model_name_or_path,
        "weights": _weights(trainer.model.get_trained_component()),
        "precision": config.base_model_precision,
        "dtype": str(config.weight_dtype).removeprefix("torch."),
        "data": _digest(data),
        "datasets": {name: len(each["images"]) for name, each in data.items()},
        "caption_dropout": config.caption_dropout_probability,
        "seed": seed,
        "bins": bins,
    }


def how_it_is_drawn(trainer: Any) -> Settings:
    """What decides which sample comes when: an unfinished calibration is only resumed alike."""
    return {
        "processes": trainer.accelerator.num_processes,
        "batch": trainer.config.train_batch_size,
        "training_seed": trainer.config.seed,
    }


def name_of(settings: Settings) -> str:
    """A short name for a calibration with these settings."""
    return _digest(settings)[:12]


def _weights(model: nn.Module) -> str:
    """A fingerprint of a model: its tensors' names and shapes, and values from all over each."""
    return short_digest(
        part for name, tensor in model.state_dict().items() for part in _sampled(name, tensor)
    )


def _sampled(name: str, tensor: torch.Tensor) -> Iterator[bytes | str]:
    yield f"{name} {tuple(tensor.shape)} {tensor.dtype}\n"
    if type(tensor) is torch.Tensor and tensor.numel():
        flat = tensor.detach().flatten()
        values = flat[:: max(1, flat.numel() // VALUES)][:VALUES]
        yield values.double().cpu().numpy().tobytes()


def _datasets(config: Any) -> dict[str, dict[str, Any]]:
    """The training datasets: settings, images with their crops, and captions."""
    from simpletuner.helpers.prompts import PromptHandler
    from simpletuner.helpers.training.state_tracker import StateTracker

    described = {}
    for name, backend in StateTracker.get_data_backends().items():
        if "train_dataloader" not in backend:
            continue
        settings = backend["config"]
        strategy = settings.get("caption_strategy", config.caption_strategy)
        only_prompt = settings.get("only_instance_prompt") or config.only_instance_prompt
        captions, missing = PromptHandler.get_all_captions(
            data_backend=backend["data_backend"],
            instance_data_dir=backend.get("instance_data_dir", ""),
            prepend_instance_prompt=settings.get(
                "prepend_instance_prompt", config.prepend_instance_prompt
            ),
            instance_prompt=settings.get("instance_prompt", config.instance_prompt),
            use_captions=not only_prompt and strategy != "instanceprompt",
            caption_strategy=strategy,
            disable_multiline_split=settings.get("disable_multiline_split", False),
        )
        described[name] = {
            "settings": settings,
            "images": backend["metadata_backend"].get_metadata(),
            "captions": captions,
            "without caption": missing,
        }
    return described


def _digest(data: Any) -> str:
    return short_digest([json.dumps(data, sort_keys=True, default=str)])
