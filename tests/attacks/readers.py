"""Every file that a user hands over: what reads it, and what is done with it then."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lokr_weighting.cli.options import read_recipe
from lokr_weighting.data.folder import find_images, fingerprint
from lokr_weighting.data.images import BrokenImage, open_image
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import read_json, read_model, write_json
from lokr_weighting.models.blocks import block_linears, block_names
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.models.sizes import read_sizes
from lokr_weighting.plan.make import make_plan, parameters_without_critical
from lokr_weighting.plan.plan import Plan, read_plan, write_plan
from lokr_weighting.plan.recipe import Recipe
from lokr_weighting.records.average import heatmaps_of
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.records.heatmaps import read_heatmaps, write_heatmaps
from lokr_weighting.records.reading import read_calibration
from lokr_weighting.records.record import Records, read_records
from lokr_weighting.studies.ablation import Ablation
from lokr_weighting.studies.ablation_file import as_json, read_ablation, write_ablation
from lokr_weighting.studies.damage import ranks_inside, ranks_of_skipping, shares_of_damage
from lokr_weighting.studies.groups_file import read_groups
from lokr_weighting.studies.painters import rows_of
from lokr_weighting.studies.similarity import similarity_of
from tests.attacks import good
from tests.conftest import random_heatmaps
from tests.studies.made_up_groups import grouped, similarity
from tests.studies.test_ablation import made_up


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


def _use_calibration(calibration: Calibration) -> None:
    from lokr_weighting.show.report.content import facts

    recipe = Recipe(bins=good.BINS)
    heatmaps, gains = calibration.heatmaps(good.BINS), calibration.gains
    plan = make_plan(heatmaps, calibration.model or good.skeleton(), recipe)
    facts(calibration, plan, heatmaps)
    for name in ("gradient", "gradient-norm"):
        own = Recipe(bins=good.BINS, name=name)
        make_plan(heatmaps, good.skeleton(), own, budget="uniform:4", gains=gains)
    similarity_of(calibration, resamples=2).as_json()


def _use_records(records: Records) -> None:
    make_plan(heatmaps_of(records, good.BINS), good.skeleton())


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
    ranks_inside(ablation)
    rows_of(ablation)
    as_json(ablation)


def _read_run(file: Path) -> Any:
    from lokr_weighting.studies.comparison import RunFile

    return read_model(file, RunFile)


def _read_config(file: Path) -> Any:
    from lokr_weighting.targets.lycoris.config import read_config

    return read_config(file)


def _use_config(config: Any) -> None:
    from lokr_weighting.show.readback_tables import checked_table
    from lokr_weighting.targets.lycoris.check import check

    checked_table(check(good.skeleton(), config, "simpletuner"), None)


def _read_template(file: Path) -> Any:
    from lokr_weighting.targets.lycoris.template import read_template

    return read_template(file)


def _use_template(template: Any) -> None:
    from lokr_weighting.targets.lycoris.config import added_by, config_of

    added = added_by(template)
    config_of(make_plan(good.heatmaps(), good.skeleton(), added=added, name="digits"), template)


def _read_pipeline(file: Path) -> Path:
    from lokr_weighting.models.loading import pipeline_folder

    return pipeline_folder(str(file.parent))


def _use_pipeline(folder: Path) -> None:
    from lokr_weighting.models.identity import pipeline_fingerprint

    pipeline_fingerprint(folder)


def _use_skeleton(skeleton: Any) -> None:
    make_plan(random_heatmaps(max(1, len(block_names(skeleton)))), skeleton, budget="uniform:2")
    block_linears(skeleton)


def _read_lycoris(file: Path) -> Any:
    from lokr_weighting.targets.trained import read_lycoris

    return read_lycoris(file, good.model())


def _read_adapter(file: Path) -> Any:
    from lokr_weighting.studies.inspection import study_adapter

    return study_adapter(file, good.skeleton(), "digits")


def _use_study(study: Any) -> None:
    from lokr_weighting.show.changes import changes_table

    changes_table(study)
    json.dumps(study.as_json(), allow_nan=False)


def _use_factors(modules: Any) -> None:
    from lokr_weighting.targets.peft.layout import stock_factors

    stock_factors({factors.split for factors in modules.values()})


def _read_peft(file: Path) -> Any:
    from lokr_weighting.targets.trained import read_peft

    return read_peft(file.parent.parent)


def _read_checkpoint(file: Path) -> Any:
    from lokr_weighting_simpletuner.resuming import read_checkpoint

    return read_checkpoint(file.parent)


def _use_quantization(arguments: dict[str, Any]) -> None:
    from lokr_weighting.models.loading import _quantization_config

    _quantization_config(arguments, "transformer")


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
        file,
        good.write_calibration,
        lambda path: read_calibration(path.parent),
        _use_calibration,
        8,
    )


READERS = (
    Reader("records.jsonl", good.write_records, read_records, _use_records),
    Reader("records.jsonl.gz", good.write_records, read_records, _use_records),
    Reader(
        "heatmaps.json",
        lambda file: write_heatmaps(file, good.heatmaps()),
        read_heatmaps,
        lambda heatmaps: make_plan(heatmaps, good.skeleton()),
    ),
    _of_calibration("calibration/calibration.json"),
    _of_calibration("calibration/records.jsonl"),
    _of_calibration("calibration/not_finite.jsonl"),
    _of_calibration("calibration/similarity.jsonl"),
    _of_calibration("calibration/gains.json"),
    Reader("a.plan.json", lambda file: write_plan(file, good.plan()), read_plan, _use_plan, 4),
    Reader(
        "recipe.json",
        good.write_json(Recipe().model_dump()),
        lambda file: read_recipe(str(file), None),
        lambda recipe: make_plan(good.heatmaps(), good.skeleton(), recipe),
    ),
    Reader(
        "ablation.json",
        lambda file: write_ablation(file, made_up([1, 2, 3, 5], [0.1] * 4, [0.2] * 4)),
        read_ablation,
        _use_ablation,
    ),
    Reader(
        "ablation/ablation.json",
        lambda file: write_ablation(file, grouped()),
        read_ablation,
        _use_ablation,
        4,
    ),
    Reader("similarity.json", lambda file: write_json(file, similarity().as_json()), read_groups),
    Reader("run.json", good.write_json(good.RUN), _read_run),
    Reader("config.json", good.write_json(good.CONFIG), _read_config, _use_config, 20),
    Reader("template.json", good.write_json(good.TEMPLATE), _read_template, _use_template, 2),
    Reader(
        "pipeline/transformer/config.json",
        good.copy_pipeline,
        lambda file: load_skeleton(str(file.parents[1])),
        _use_skeleton,
        8,
    ),
    Reader(
        "pipeline/vae/config.json", good.copy_pipeline, lambda file: read_sizes(file.parents[1])
    ),
    Reader("pipeline/model_index.json", good.copy_pipeline, _read_pipeline, _use_pipeline),
    Reader("lycoris.safetensors", good.write_lycoris, _read_lycoris, _use_factors),
    Reader("peft/lokr_1of1/adapter_config.json", good.write_peft, _read_peft, _use_factors),
    Reader("peft/lokr_1of1/adapter_model.safetensors", good.write_peft, _read_peft, _use_factors),
    Reader("adapter/lokr.safetensors", good.write_lycoris, _read_adapter, _use_study),
    Reader("adapter/lora.safetensors", good.write_lora, _read_adapter, _use_study),
    Reader(
        "lora/adapter_config.json",
        good.write_peft_lora,
        lambda file: _read_adapter(file.parent),
        _use_study,
    ),
    Reader(
        "lora/adapter_model.safetensors",
        good.write_peft_lora,
        lambda file: _read_adapter(file.parent),
        _use_study,
    ),
    Reader("pytorch_lora_weights.safetensors", good.write_lycoris, _read_checkpoint),
    Reader(
        "quantization.json",
        good.write_json({"backend": "bitsandbytes_8bit", "llm_int8_threshold": 6.0}),
        read_json,
        _use_quantization,
    ),
    Reader("images/a.txt", good.write_captions("a circle\na square"), _read_captions),
    Reader("images/a.caption", good.write_captions("a circle"), _read_captions),
    Reader("images/a.json", good.write_captions('{"caption": ["a", "b"], "x": 1}'), _read_captions),
    Reader(
        "images/metadata.jsonl",
        good.write_captions('{"file_name": "a.png", "text": "a"}\n'),
        _read_captions,
    ),
    Reader("images/metadata.csv", good.write_captions("file_name,text\na.png,a\n"), _read_captions),
    Reader("a.png", good.write_image, _read_image),
    Reader("a.jpg", good.write_image, _read_image),
    Reader("a.tif", good.write_image, _read_image),
    Reader("a.webp", good.write_image, _read_image),
)
