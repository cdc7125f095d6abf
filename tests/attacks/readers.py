"""Every file that a user hands over: how a good one is made, and what reads and uses it."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lokr_weighting.cli.options import read_recipe
from lokr_weighting.data.folder import find_images, fingerprint
from lokr_weighting.data.images import BrokenImage, open_image
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import read_json, read_model
from lokr_weighting.models.blocks import block_linears, block_names
from lokr_weighting.models.known import load_skeleton, shipped_pipeline
from lokr_weighting.models.sizes import read_sizes
from lokr_weighting.plan.make import make_plan, parameters_without_critical
from lokr_weighting.plan.plan import Plan, read_plan, write_plan
from lokr_weighting.plan.recipe import Recipe
from lokr_weighting.records.average import heatmaps_of
from lokr_weighting.records.calibration import Calibration, Summary
from lokr_weighting.records.gains import write_gains
from lokr_weighting.records.heatmaps import Heatmaps, read_heatmaps, write_heatmaps
from lokr_weighting.records.pairs import Pairs
from lokr_weighting.records.record import NotFinite, Record, Records, read_records
from lokr_weighting.records.store import CalibrationStore, read_calibration
from lokr_weighting.studies.ablation import Ablation, read_ablation, write_ablation
from lokr_weighting.studies.damage import ranks_of_skipping, shares_of_damage
from lokr_weighting.studies.similarity import similarity_of
from tests.conftest import random_gains, random_heatmaps
from tests.studies.test_ablation import made_up

BLOCKS, BINS = 12, 2
SETTINGS = {"model": "digits", "data": "d", "seed": 0, "bins": BINS}


@dataclass(frozen=True)
class Reader:
    """A kind of file.

    Attributes:
        file: its name in a folder.
        make: writes a good one there, and what belongs to it.
        read: reads it, given its path; an error names it.
        use: what is done with what was read.
        cost: how many times as long it takes as the others.
    """

    file: str
    make: Callable[[Path], object]
    read: Callable[[Path], Any]
    use: Callable[[Any], object] = lambda _: None
    cost: int = 1


@cache
def _skeleton() -> Any:
    return load_skeleton("digits")


@cache
def _heatmaps() -> Heatmaps:
    return random_heatmaps(BLOCKS)


@cache
def _plan() -> Plan:
    return make_plan(_heatmaps(), _skeleton(), name="digits")


def _records() -> list[Record]:
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


def _write_records(file: Path) -> None:
    text = "".join(each.line for each in _records()).encode()
    file.write_bytes(gzip.compress(text, mtime=0) if file.suffix == ".gz" else text)


def _write_calibration(file: Path) -> None:
    """A finished calibration; without checksums, so that a changed file is looked into."""
    folder, records = file.parent, _records()
    store = CalibrationStore(folder, SETTINGS)
    store.append([*records, NotFinite(sample=len(records), block="transformer_blocks.1")])
    store.close()
    summary = Summary(
        settings=SETTINGS,
        blocks=tuple(block_names(_skeleton())),
        samples=len(records),
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
    write_gains(folder / "gains.json", random_gains(_skeleton()), SETTINGS)


def _use_calibration(calibration: Calibration) -> None:
    from lokr_weighting.show.report.content import facts

    recipe = Recipe(bins=BINS)
    heatmaps, gains = calibration.heatmaps(BINS), calibration.gains
    plan = make_plan(heatmaps, calibration.model or _skeleton(), recipe)
    facts(calibration, plan, heatmaps)
    for name in ("gradient", "gradient-norm"):
        own = Recipe(bins=BINS, name=name)
        make_plan(heatmaps, _skeleton(), own, budget="uniform:4", gains=gains)
    similarity_of(calibration, resamples=2).as_json()


def _use_records(records: Records) -> None:
    make_plan(heatmaps_of(records, BINS), _skeleton())


def _use_plan(plan: Plan) -> None:
    from lokr_weighting.show.plan_tables import plan_table
    from lokr_weighting.targets.lycoris.config import config_of
    from lokr_weighting.targets.peft.layout import configs

    parameters_without_critical(plan)
    config_of(plan)
    configs(plan)
    plan_table(plan)
    plan.collapsed()


def _use_ablation(ablation: Ablation) -> None:
    shares_of_damage(ablation, ablation.blocks)
    ranks_of_skipping(ablation)
    ablation.as_json()


def _json(data: Any) -> Callable[[Path], object]:
    return lambda file: file.write_text(json.dumps(data))


def _read_run(file: Path) -> Any:
    from lokr_weighting.studies.comparison import RunFile

    return read_model(file, RunFile)


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


def _read_config(file: Path) -> Any:
    from lokr_weighting.targets.lycoris.config import read_config

    return read_config(file)


def _use_config(config: Any) -> None:
    from lokr_weighting.show.readback_tables import checked_table
    from lokr_weighting.targets.lycoris.check import check

    checked_table(check(_skeleton(), config, "simpletuner"), None)


def _read_template(file: Path) -> Any:
    from lokr_weighting.targets.lycoris.template import read_template

    return read_template(file)


def _use_template(template: Any) -> None:
    from lokr_weighting.targets.lycoris.config import added_by, config_of

    added = added_by(template)
    config_of(make_plan(_heatmaps(), _skeleton(), added=added, name="digits"), template)


def _copy_pipeline(file: Path) -> None:
    """The shipped pipeline's configurations; the weights are not looked at."""
    shipped = shipped_pipeline("digits")
    assert shipped is not None
    folder = file.parent if file.name == "model_index.json" else file.parent.parent
    for name in ("model_index.json", "transformer/config.json", "vae/config.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((shipped / name).read_bytes())


def _read_pipeline(file: Path) -> Path:
    from lokr_weighting.models.loading import pipeline_folder

    return pipeline_folder(str(file.parent))


def _use_pipeline(folder: Path) -> None:
    from lokr_weighting.models.identity import pipeline_fingerprint

    pipeline_fingerprint(folder)


def _use_skeleton(skeleton: Any) -> None:
    make_plan(random_heatmaps(max(1, len(block_names(skeleton)))), skeleton, budget="uniform:2")
    block_linears(skeleton)


def _write_lycoris(file: Path) -> None:
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


@cache
def _model() -> Any:
    return _skeleton().to_module()


def _read_lycoris(file: Path) -> Any:
    from lokr_weighting.targets.trained import read_lycoris

    return read_lycoris(file, _model())


def _use_factors(modules: Any) -> None:
    from lokr_weighting.targets.peft.layout import stock_factors

    stock_factors({factors.split for factors in modules.values()})


def _write_peft(file: Path) -> None:
    from lokr_weighting.targets.conversion import lycoris_to_peft

    folder = file.parent.parent
    _write_lycoris(folder / "lycoris.safetensors")
    lycoris_to_peft(folder / "lycoris.safetensors", _model(), folder)


def _read_peft(file: Path) -> Any:
    from lokr_weighting.targets.trained import read_peft

    return read_peft(file.parent.parent)


def _read_checkpoint(file: Path) -> Any:
    from lokr_weighting_simpletuner.resuming import read_checkpoint

    return read_checkpoint(file.parent)


def _use_quantization(arguments: dict[str, Any]) -> None:
    from lokr_weighting.models.loading import _quantization_config

    _quantization_config(arguments)


def _image(file: Path, **options: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, **options)


def _write_captions(text: str) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        _image(file.parent / "a.png")
        file.write_text(text)

    return write


def _read_captions(file: Path) -> None:
    images = find_images(file.parent)
    images.check()
    fingerprint(images)
    # as a tokenizer takes them
    assert all(caption.encode() is not None for each in images.items for caption in each.captions)


def _read_image(file: Path) -> None:
    try:
        open_image(file)
    except BrokenImage as error:  # left out, and counted, by its name
        raise LokrWeightingError(f"{file}: {error}") from None


def _of_calibration(file: str) -> Reader:
    return Reader(
        file, _write_calibration, lambda path: read_calibration(path.parent), _use_calibration, 8
    )


READERS = (
    Reader("records.jsonl", _write_records, read_records, _use_records),
    Reader("records.jsonl.gz", _write_records, read_records, _use_records),
    Reader(
        "heatmaps.json",
        lambda file: write_heatmaps(file, _heatmaps()),
        read_heatmaps,
        lambda heatmaps: make_plan(heatmaps, _skeleton()),
    ),
    _of_calibration("calibration/calibration.json"),
    _of_calibration("calibration/records.jsonl"),
    _of_calibration("calibration/not_finite.jsonl"),
    _of_calibration("calibration/similarity.jsonl"),
    _of_calibration("calibration/gains.json"),
    Reader("a.plan.json", lambda file: write_plan(file, _plan()), read_plan, _use_plan, 4),
    Reader(
        "recipe.json",
        _json(Recipe().model_dump()),
        lambda file: read_recipe(str(file), None),
        lambda recipe: make_plan(_heatmaps(), _skeleton(), recipe),
    ),
    Reader(
        "ablation.json",
        lambda file: write_ablation(file, made_up([1, 2, 3, 5], [0.1] * 4, [0.2] * 4)),
        read_ablation,
        _use_ablation,
    ),
    Reader("run.json", _json(RUN), _read_run),
    Reader("config.json", _json(CONFIG), _read_config, _use_config, 20),
    Reader("template.json", _json(TEMPLATE), _read_template, _use_template, 2),
    Reader(
        "pipeline/transformer/config.json",
        _copy_pipeline,
        lambda file: load_skeleton(str(file.parents[1])),
        _use_skeleton,
        8,
    ),
    Reader("pipeline/vae/config.json", _copy_pipeline, lambda file: read_sizes(file.parents[1])),
    Reader("pipeline/model_index.json", _copy_pipeline, _read_pipeline, _use_pipeline),
    Reader("lycoris.safetensors", _write_lycoris, _read_lycoris, _use_factors),
    Reader("peft/lokr_1of1/adapter_config.json", _write_peft, _read_peft, _use_factors),
    Reader("peft/lokr_1of1/adapter_model.safetensors", _write_peft, _read_peft, _use_factors),
    Reader("pytorch_lora_weights.safetensors", _write_lycoris, _read_checkpoint),
    Reader(
        "quantization.json",
        _json({"backend": "bitsandbytes_8bit", "llm_int8_threshold": 6.0}),
        read_json,
        _use_quantization,
    ),
    Reader("images/a.txt", _write_captions("a circle\na square"), _read_captions),
    Reader("images/a.caption", _write_captions("a circle"), _read_captions),
    Reader("images/a.json", _write_captions('{"caption": ["a", "b"], "x": 1}'), _read_captions),
    Reader(
        "images/metadata.jsonl",
        _write_captions('{"file_name": "a.png", "text": "a"}\n'),
        _read_captions,
    ),
    Reader("images/metadata.csv", _write_captions("file_name,text\na.png,a\n"), _read_captions),
    Reader("a.png", _image, _read_image),
    Reader("a.jpg", _image, _read_image),
    Reader("a.tif", _image, _read_image),
    Reader("a.webp", _image, _read_image),
)
