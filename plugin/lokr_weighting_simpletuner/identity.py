"""What a calibration inside a run is of: the model, the data, and all that the model is given."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lokr_weighting.digests import short_digest
from lokr_weighting.records.summary import Settings
from lokr_weighting_simpletuner.datasets import DataSet, training_backends
from lokr_weighting_simpletuner.samples import Samples, reference_tokens

CONDITIONS = (
    "model_flavour",
    "caption_dropout_probability",
    "tokenizer_max_length",
    "t5_padding",
    "flux_attention_masked_training",
    "flux_guidance_mode",
    "flux_guidance_value",
    "flux_guidance_min",
    "flux_guidance_max",
)
"""Keys of SimpleTuner's configuration that change what the model is given: told apart by name."""
WEIGHTING = (
    "probability",
    "repeats",
    "start_step",
    "start_epoch",
    "end_step",
    "end_epoch",
    "disable_after_epoch_step",
)
"""Keys of a data set that decide its share alone."""
GIVEN = 4  # samples whose inputs tell everything else apart
CHUNK = 1 << 22  # numbers of 8 bytes that are summed at a time
ODD = 0x9E3779B97F4A7C15 - (1 << 64)  # of the multipliers, so that a change of one number is seen


def what_is_measured(trainer: Any, samples: Samples) -> Settings:
    """What decides the records; calibrations that agree in it may stand for each other.

    Everything that the model is given for the first samples is part of it, whatever SimpleTuner
    made it from: text encoders and VAE too. Read by one process: the others see a part of the
    dataset only.

    Args:
        trainer: SimpleTuner's trainer, its model where it runs.
        samples: the samples that are to be measured.
    """
    config = trainer.config
    measured = [each for each in samples.datasets if each.left_out is None]
    # before a sample is drawn: SimpleTuner notes captions among the images' metadata
    data = _digest(_described(config, measured))
    return {
        "model": config.pretrained_transformer_model_name_or_path
        or config.pretrained_model_name_or_path,
        "weights": weights_digest(trainer.model.get_trained_component()),
        "precision": config.base_model_precision,
        "dtype": str(config.weight_dtype).removeprefix("torch."),
        "data": data,
        "datasets": {each.name: each.images for each in measured},
        "shares": {each.name: each.share for each in measured},
        **{key: getattr(config, key, None) for key in CONDITIONS},
        "reference_tokens": samples.run(0, lambda _, prepared: reference_tokens(prepared)),
        "inputs": short_digest(
            part for number in range(GIVEN) for part in _given(trainer, samples, number)
        ),
        "seed": samples.seed,
        "bins": samples.bins,
    }


def how_it_is_drawn(trainer: Any) -> Settings:
    """What decides which sample comes when: an unfinished calibration is only resumed alike."""
    return {"processes": trainer.accelerator.num_processes}


def name_of(settings: Settings) -> str:
    """A short name for a calibration with these settings."""
    return _digest(settings)[:12]


def weights_digest(model: nn.Module) -> str:
    """A fingerprint of every bit of a model: its tensors' names, shapes and numbers.

    Summed up where the tensors are, so that a GPU's memory is read at a GPU's speed.
    """
    return short_digest(
        part for name, tensor in model.state_dict().items() for part in _parts(name, tensor)
    )


def _parts(name: str, tensor: Any) -> Iterator[str]:
    """A tensor, or what a quantised one is made of, in short strings."""
    if not isinstance(tensor, torch.Tensor):  # what a module keeps beside its tensors
        yield f"{name} {type(tensor).__name__}\n"
        return
    yield f"{name} {tuple(tensor.shape)} {tensor.dtype}\n"
    if hasattr(tensor, "__tensor_flatten__"):
        inner, _ = tensor.__tensor_flatten__()  # pyright: ignore[reportAttributeAccessIssue]
        for each in inner:
            yield from _parts(each, getattr(tensor, each))
        return
    held = tensor.detach().contiguous().flatten().view(torch.uint8)
    if held.storage_offset() % 8:
        held = held.clone()
    whole = held.numel() // 8 * 8
    numbers = held[:whole].view(torch.int64)
    for start in range(0, numbers.numel(), CHUNK):
        chunk = numbers[start : start + CHUNK]
        multipliers = 2 * torch.arange(len(chunk), device=chunk.device) * ODD + 1
        yield f"{(chunk * multipliers).sum().item()}\n"
    yield f"{held[whole:].tolist()}\n"


class _GivenError(Exception):
    """Ends a forward right where the model would begin."""


def _given(trainer: Any, samples: Samples, number: int) -> list[bytes | str]:
    """What the model is given for a sample, in pieces."""
    pieces: list[bytes | str] = []

    def seen(_module: nn.Module, args: Any, kwargs: Any) -> None:
        pieces.extend(_pieces([args, kwargs]))
        raise _GivenError

    def around(predict: Callable[[], None], _prepared: dict[str, Any]) -> None:
        model = trainer.model.get_trained_component()
        hook = model.register_forward_pre_hook(seen, with_kwargs=True)
        try:
            predict()
        except _GivenError:
            pass
        finally:
            hook.remove()

    samples.run(number, around)
    return pieces


def _pieces(value: Any) -> Iterator[bytes | str]:
    """A value's content; of what is no data only the kind."""
    if isinstance(value, torch.Tensor):
        yield f"{tuple(value.shape)} {value.dtype}\n"
        yield value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield f"{key}:"
            yield from _pieces(value[key])
    elif isinstance(value, list | tuple):
        yield f"{len(value)} of\n"
        for each in value:
            yield from _pieces(each)
    else:
        plain = value is None or isinstance(value, str | int | float)
        yield f"{value!r}\n" if plain else f"{type(value).__name__}\n"


def _described(config: Any, datasets: Sequence[DataSet]) -> dict[str, dict[str, Any]]:
    """Data sets: settings, images with their crops, and captions."""
    from simpletuner.helpers.prompts import PromptHandler

    described = {}
    backends = training_backends(config)
    for name in (each.name for each in datasets):
        backend = backends[name]
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
            "settings": {key: settings[key] for key in settings if key not in WEIGHTING},
            "images": backend["metadata_backend"].get_metadata(),
            "captions": captions,
            "without caption": missing,
        }
    return described


def _digest(data: Any) -> str:
    return short_digest([json.dumps(data, sort_keys=True, default=str)])
