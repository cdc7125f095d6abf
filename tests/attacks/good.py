"""A good file of every kind that is read."""

import gzip
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lokr_weighting.models.blocks import block_names
from lokr_weighting.models.known import load_skeleton, shipped_pipeline
from lokr_weighting.plan.make import make_plan
from lokr_weighting.plan.plan import Plan
from lokr_weighting.records.gains import write_gains
from lokr_weighting.records.heatmaps import Heatmaps
from lokr_weighting.records.pairs import Pairs
from lokr_weighting.records.record import NotFinite, Record
from lokr_weighting.records.store import CalibrationStore
from lokr_weighting.records.summary import Summary
from tests.conftest import random_gains, random_heatmaps

BLOCKS, BINS = 12, 2


SETTINGS = {"model": "digits", "data": "d", "seed": 0, "bins": BINS}


@cache
def skeleton() -> Any:
    return load_skeleton("digits")


@cache
def heatmaps() -> Heatmaps:
    return random_heatmaps(BLOCKS)


@cache
def plan() -> Plan:
    return make_plan(heatmaps(), skeleton(), name="digits")


def records() -> list[Record]:
    rng = np.random.default_rng(0)
    pairs = BLOCKS * (BLOCKS - 1) // 2
    return [
        Record(
            timestep=(number % BINS + 0.5) / BINS,
            hidden_states=rng.uniform(0, 1, BLOCKS).round(3).tolist(),
            encoder_hidden_states=rng.uniform(0, 1, BLOCKS - 1).round(3).tolist(),
            sample=number,
        ).with_pairs(Pairs(rng.uniform(0, 1, pairs), rng.uniform(0, 1, pairs)))
        for number in range(2 * BINS)
    ]


def write_records(file: Path) -> None:
    text = "".join(each.line for each in records()).encode()
    file.write_bytes(gzip.compress(text, mtime=0) if file.suffix == ".gz" else text)


def write_calibration(file: Path) -> None:
    """A finished calibration; without checksums, so that a changed file is looked into."""
    folder, samples = file.parent, records()
    store = CalibrationStore(folder, SETTINGS)
    store.append([*samples, NotFinite(sample=len(samples), block="transformer_blocks.1")])
    store.close()
    summary = Summary(
        settings=SETTINGS,
        blocks=tuple(block_names(skeleton())),
        samples=len(samples),
        not_finite={"transformer_blocks.1": 1},
        settled=True,
        image=[0.5] * BLOCKS,
        image_error=None,
        text=[0.5] * BLOCKS,
        text_error=None,
        skipped={"a.png": "is broken"},
        versions={"torch": "2"},
    )
    (folder / "calibration.json").write_text(summary.model_dump_json())
    write_gains(folder / "gains.json", random_gains(skeleton()), SETTINGS)


def write_json(data: Any) -> Callable[[Path], object]:
    return lambda file: file.write_text(json.dumps(data))


RUN = {
    "arm": "uniform",
    "plan": "0",
    "rate": 0.1,
    "seed": 0,
    "parameters": 9,
    "losses": [0.1, None],
    "kept": [],
    "seconds": 1.5,
    "peak_bytes": 0,
}


CONFIG = {
    "algo": "lokr",
    "multiplier": 1.0,
    "linear_dim": 10000,
    "linear_alpha": 1,
    "factor": 4,
    "full_matrix": True,
    "apply_preset": {
        "target_module": ["FeedForward"],
        "module_algo_map": {"FeedForward": {"factor": 2}},
        "name_algo_map": {"transformer_blocks.*attn.to_q": {"algo": "lokr", "factor": 8}},
        "exclude_name": ["proj_out"],
        "use_fnmatch": True,
    },
}


TEMPLATE = {**CONFIG, "dora_wd": True, "apply_preset": {"enable_conv": True}}


def copy_pipeline(file: Path) -> None:
    """The shipped pipeline's configurations; the weights are not looked at."""
    shipped = shipped_pipeline("digits")
    assert shipped is not None
    folder = file.parent if file.name == "model_index.json" else file.parent.parent
    for name in ("model_index.json", "transformer/config.json", "vae/config.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((shipped / name).read_bytes())


def write_lycoris(file: Path) -> None:
    import torch
    from safetensors.torch import save_file

    name = "lycoris_transformer_blocks_0_attn_to_q"
    tensors = {"lokr_w1": torch.ones(4, 4), "lokr_w2_a": torch.ones(16, 2)}
    tensors |= {"lokr_w2_b": torch.ones(2, 16), "alpha": torch.tensor(1.0)}
    save_file(
        {f"{name}.{kind}": tensor for kind, tensor in tensors.items()},
        file,
        metadata={"lokr_weighting": '{"plan": "0"}'},
    )


def write_lora(file: Path) -> None:
    """As diffusers writes it, with its configuration in the header."""
    import torch
    from safetensors.torch import save_file

    name = "transformer.transformer_blocks.0.attn.to_q"
    tensors = {"lora_A.weight": torch.ones(2, 64), "lora_B.weight": torch.ones(64, 2)}
    config = {"transformer.r": 2, "transformer.lora_alpha": 4}
    save_file(
        {f"{name}.{kind}": tensor for kind, tensor in tensors.items()},
        file,
        metadata={"lora_adapter_metadata": json.dumps(config)},
    )


def write_peft_lora(file: Path) -> None:
    import torch
    from peft import LoraConfig
    from safetensors.torch import save_file

    LoraConfig(r=2, lora_alpha=4, target_modules=["to_q"]).save_pretrained(str(file.parent))
    name = "base_model.model.transformer_blocks.0.attn.to_q"
    tensors = {"lora_A.weight": torch.ones(2, 64), "lora_B.weight": torch.ones(64, 2)}
    save_file(
        {f"{name}.{kind}": tensor for kind, tensor in tensors.items()},
        file.parent / "adapter_model.safetensors",
    )


@cache
def model() -> Any:
    return skeleton().to_module()


def write_peft(file: Path) -> None:
    from lokr_weighting.targets.conversion import lycoris_to_peft

    folder = file.parent.parent
    write_lycoris(folder / "lycoris.safetensors")
    lycoris_to_peft(folder / "lycoris.safetensors", model(), folder)


def write_image(file: Path, **options: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, **options)


def write_captions(text: str) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        write_image(file.parent / "a.png")
        file.write_text(text)

    return write
