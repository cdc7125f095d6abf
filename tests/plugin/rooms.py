"""Prints what rooms of the plugin make of SimpleTuner's real objects.

Run in a process of its own: importing SimpleTuner changes logging and standard output.
"""

import contextlib
import copy
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import simpletuner.helpers.models.all  # noqa: F401 (registers every family's names)
import torch
from diffusers import DDPMScheduler
from lokr_weighting_simpletuner.datasets import datasets_of
from lokr_weighting_simpletuner.families import why_refused
from lokr_weighting_simpletuner.identity import weights_digest
from lokr_weighting_simpletuner.samples import Samples, _check, _image
from lokr_weighting_simpletuner.text import text_mask
from simpletuner.helpers.models.prediction import PredictionTypes
from simpletuner.helpers.models.registry import ModelRegistry
from simpletuner.helpers.models.sd3.model import _encode_sd3_prompt_with_t5
from simpletuner.helpers.training.state_tracker import StateTracker
from simpletuner.helpers.training.trainer import Trainer

from lokr_weighting import LokrWeightingError
from lokr_weighting.measure.layouts import register_layout
from lokr_weighting.models.family import BlockList, Family, Streams
from lokr_weighting.models.table import family_of, register_family
from tests import tiny_pipelines
from tests.plugin.longcat import longcat
from tests.plugin.stopped import stopped

BATCH = 2


def data_set(images: int, **settings: Any) -> dict[str, Any]:
    """A data set as the StateTracker keeps it, of one bucket."""
    buckets = {"1.0": [f"{number}.png" for number in range(images)]}
    metadata = SimpleNamespace(
        aspect_ratio_bucket_indices=buckets, get_metadata=lambda: dict.fromkeys(buckets["1.0"])
    )
    sampler = SimpleNamespace(
        batch_size=BATCH,
        metadata_backend=metadata,
        is_regularisation_data=settings.get("is_regularisation_data", False),
    )
    return {
        "config": settings,
        "sampler": sampler,
        "metadata_backend": metadata,
        "train_dataloader": None,
        "dataset_type": settings.get("dataset_type", "image"),
    }


def shares(steps: int, data: dict[str, dict[str, Any]], **config: Any) -> dict[str, Any]:
    """What a run of so many steps is measured on, or why it is refused."""
    settings = {
        "max_train_steps": steps,
        "gradient_accumulation_steps": 1,
        "eval_dataset_id": None,
        "seed": 3,
        "data_backend_sampling": "uniform",
        **config,
    }
    trainer: Any = SimpleNamespace(
        config=SimpleNamespace(**settings), accelerator=SimpleNamespace(is_main_process=True)
    )
    StateTracker.set_args(trainer.config)
    StateTracker.data_backends = data
    StateTracker.dataset_schedule = {name: {"reached": False} for name in data}
    StateTracker.set_epoch(1)
    before = copy.deepcopy(StateTracker.dataset_schedule)
    try:
        found = datasets_of(trainer)
    except LokrWeightingError as error:
        return {"refused": str(error)}
    assert StateTracker.dataset_schedule == before
    assert StateTracker.get_epoch() == 1
    assert (StateTracker.exhausted_backends, StateTracker.repeats) == ([], {})
    return {each.name: [each.images, each.share, each.left_out] for each in found}


def drawn_images() -> dict[str, int]:
    """How often each image of buckets of 1, 3 and 12 images is drawn, of 8,000 times."""
    buckets = {
        "1.0": [f"square{number}" for number in range(12)],
        "1.5": [f"wide{number}" for number in range(3)],
        "0.5": ["tall"],
    }
    sampler = SimpleNamespace(
        batch_size=BATCH,
        metadata_backend=SimpleNamespace(aspect_ratio_bucket_indices=buckets),
        _sample_path=lambda image: image,
    )
    rng = np.random.default_rng(0)
    found: dict[str, int] = {}
    for _ in range(8000):
        _, image = _image("images", sampler, rng)
        found[image] = found.get(image, 0) + 1
    return found


def text() -> dict[str, Any]:
    """The plugin's mask of a caption, and where SimpleTuner's own embeddings are not zeroed."""
    torch.manual_seed(0)
    pipeline: Any = tiny_pipelines.sd3()
    caption = "a seven"
    embeddings = _encode_sd3_prompt_with_t5(
        pipeline.text_encoder_3, pipeline.tokenizer_3, caption, max_sequence_length=100
    )
    tokenizers = [pipeline.tokenizer, pipeline.tokenizer_2, pipeline.tokenizer_3]
    unloaded = SimpleNamespace(tokenizers=None)
    unloaded.load_text_tokenizer = lambda: setattr(unloaded, "tokenizers", tokenizers)
    trainer: Any = SimpleNamespace(config=SimpleNamespace(model_family="sd3"), model=unloaded)
    family = family_of(pipeline.transformer)
    mask = text_mask(
        trainer,
        {"encoder_hidden_states": torch.zeros(1, 77 + 100, 64), "prompts": [caption]},
        family,
    )
    assert mask is not None
    given = text_mask(
        trainer,
        {
            "encoder_hidden_states": torch.zeros(1, 4, 64),
            "encoder_attention_mask": torch.tensor([[[1, 1, 0, 0]]]),
        },
        family,
    )
    assert given is not None
    # without captions and mask
    bare = {"encoder_hidden_states": torch.zeros(1, 4, 64)}
    register_layout("mine", lambda _model, _call, row: row)
    mine = Family("mine", (), family.lists)
    register_family(mine)
    alone = BlockList("blocks", (), Streams(text_in=None, image_out=None, text_out=None))
    try:
        untold = str(text_mask(trainer, bare, family))
    except LokrWeightingError as error:
        untold = str(error)
    try:
        _check({"conditioning_latents": bare}, "z_image")
        refused = ""
    except LokrWeightingError as error:
        refused = str(error)
    return {
        "untold": untold,
        "references": refused,
        "left alone": [
            text_mask(trainer, bare, each)
            for each in (
                mine,
                replace(mine, name="by its call", layout="mine"),
                replace(mine, name="by its mask", text_mask="mask"),
                replace(mine, name="image alone", lists=(alone,)),
            )
        ],
        "clip": mask[0, :77].sum().item(),
        "clip tokens": len(pipeline.tokenizer(caption).input_ids),
        "t5": mask[0, 77:].tolist(),
        "not zeroed": embeddings[0].any(-1).tolist(),
        "given": given.tolist(),
    }


def digests() -> dict[str, bool]:
    """Whether a change of one number of a model is seen, whatever its type."""

    def seen(change: Callable[[torch.nn.Module], object], dtype: torch.dtype) -> bool:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(97, 33), torch.nn.Linear(33, 5)).to(dtype)
        before = weights_digest(model)
        assert weights_digest(model) == before
        with torch.no_grad():
            change(model)
        return weights_digest(model) != before

    def one(model: Any) -> None:
        model[0].weight[17, 31] *= 3

    def swapped(model: Any) -> None:
        model[0].weight[:2] = model[0].weight[:2].flip(0)

    def last(model: Any) -> None:
        model[1].bias[-1] += 1

    return {
        f"{change.__name__} {dtype}": seen(change, dtype)
        for change in (one, swapped, last)
        for dtype in (torch.float32, torch.bfloat16)
    }


def noised() -> dict[str, Any]:
    """What SimpleTuner's own trainer gives a model that predicts the noise, for a sample."""
    torch.manual_seed(0)
    scheduler, given = DDPMScheduler(), {}
    latents, noise = torch.randn(2, 1, 4, 2, 2)
    model = SimpleNamespace(
        PREDICTION_TYPE=PredictionTypes.EPSILON,
        uses_noise_schedule=lambda: True,
        model_predict=lambda prepared_batch: given.update(prepared_batch),
    )
    trainer: Any = SimpleNamespace(
        model=model,
        noise_scheduler=scheduler,
        config=SimpleNamespace(
            model_family="pixart",
            disable_accelerator=False,
            controlnet=False,
            scheduled_sampling_max_step_offset=0,
        ),
        accelerator=SimpleNamespace(device=torch.device("cpu"), autocast=contextlib.nullcontext),
        prepare_batch=lambda batch: batch,
        _tlora_active=False,
    )
    for name in ("_prepare_custom_timestep_batch", "model_predict"):
        setattr(trainer, name, partial(getattr(Trainer, name), trainer))

    class Drawn(Samples):
        def draw(self, number: int) -> dict[str, Any]:
            drawn = {"latents": latents, "noise": noise, "timesteps": torch.tensor([5])}
            return drawn | {"number": number}

    samples = Drawn(trainer, (), seed=0, bins=10)
    samples.run(3, lambda predict, _: predict())
    kept = scheduler.alphas_cumprod[int(samples.timestep(3) * 1000)]
    expected = kept.sqrt() * latents + (1 - kept).sqrt() * noise
    return {
        "timestep": samples.timestep(3),
        "given": given["timesteps"].tolist(),
        "off": (given["noisy_latents"] - expected).abs().max().item(),
    }


def registered() -> list[str | None]:
    """Why families are refused, one of them before and after it is registered."""

    def refused(family: str) -> str | None:
        return why_refused(SimpleNamespace(model_family=family))

    known = [refused("flux"), refused("hidream")]
    register_family(Family("mine", ("HiDreamImageTransformer2DModel",), ()))
    return [*known, refused("hidream"), refused("sd2x")]


if __name__ == "__main__":
    two = {"small": data_set(4, repeats=3), "big": data_set(12, probability=0.5)}
    found = {
        "two": shares(1400, copy.deepcopy(two)),
        "weights": shares(40, {"a": data_set(4000), "b": data_set(4000, probability=0.25)}),
        "schedule": shares(
            400,
            {
                "now": data_set(20),
                "later": data_set(20, start_step=201),
                "never": data_set(9, start_step=4001),
            },
        ),
        "regularisation": shares(
            1000, {"mine": data_set(6), "others": data_set(50, is_regularisation_data=True)}
        ),
        "regularisation alone": shares(9, {"others": data_set(50, is_regularisation_data=True)}),
        "captions": shares(9, {"mine": data_set(6), "words": data_set(1, dataset_type="caption")}),
        "none yet": shares(9, {"a": data_set(6, start_step=5), "b": data_set(6, start_step=7)}),
        "evaluation": shares(9, copy.deepcopy(two), eval_dataset_id=["big"]),
        "images": drawn_images(),
        "text": text(),
        "digests": digests(),
        "noised": noised(),
        "registered": registered(),
        "longcat": longcat(),
        "stopped": stopped(),
        "families": list(ModelRegistry.model_families()),
    }
    Path(sys.argv[1]).write_text(json.dumps(found))
