"""Runs that cannot be weighted: found out from the configuration, before any time is spent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.blocks import block_linears, block_names
from lokr_weighting.targets.lycoris.config import LycorisConfig, read_config
from lokr_weighting.targets.lycoris.network import network_tensors
from lokr_weighting.targets.lycoris.simpletuner import simpletuner_changes
from lokr_weighting.targets.lycoris.template import read_template
from lokr_weighting.targets.registry import listed
from lokr_weighting_simpletuner.families import why_refused

MEASURE_ELSEWHERE = (
    "measure in one process without it first (lokr_weighting_measure_only=true, "
    "max_train_steps=1), then train with the lycoris_config.json which that writes as "
    "lycoris_config and without this plugin"
)

REFUSALS: tuple[tuple[Callable[[Any], Any], str], ...] = (
    (
        lambda config: config.model_type != "lora",
        "model_type is {config.model_type!r}, and only an adapter can be weighted: set model_type "
        "to 'lora' and lora_type to 'lycoris'",
    ),
    (
        lambda config: config.lora_type.lower() != "lycoris",
        "lora_type is {config.lora_type!r}, and a LoKr is made by LyCORIS: set lora_type to "
        "'lycoris' and name a lycoris_config",
    ),
    (why_refused, "{said}"),
    (
        lambda config: _get(config, "init_lora"),
        "init_lora starts from an adapter whose splits are fixed: take init_lora out, or train "
        "without this plugin",
    ),
    (
        lambda config: _get(config, "controlnet") or _get(config, "control"),
        "a ControlNet's blocks cannot be measured: train it without this plugin (leave "
        "`-m lokr_weighting_simpletuner` out), or set controlnet and control to false",
    ),
    (
        lambda config: _get(config, "fuse_qkv_projections"),
        "fuse_qkv_projections leaves projections behind that are adapted but never run: set it to "
        "false",
    ),
    (
        lambda config: _get(config, "xm_enabled"),
        "xm_enabled runs the model on several candidates for each sample: set it to false",
    ),
    (lambda config: _get(config, "fsdp_enable"), "under FSDP " + MEASURE_ELSEWHERE),
    (lambda config: _get(config, "deepspeed_config"), "under DeepSpeed " + MEASURE_ELSEWHERE),
    (
        lambda config: (_get(config, "context_parallel_size") or 1) > 1,
        "with context parallelism " + MEASURE_ELSEWHERE,
    ),
    (
        lambda config: _get(config, "ramtorch"),
        "RamTorch's Linears are no torch Linears, and LyCORIS does not adapt them: use block swap "
        "(musubi_blocks_to_swap) instead",
    ),
)
"""Which configurations are refused, and what to do instead; `said` is what the test returns."""


LAUNCHED = {"FSDP": "FSDP", "DEEPSPEED": "DeepSpeed", "MEGATRON_LM": "Megatron-LM"}
"""What accelerate calls a launch that splits the model over processes -> its name."""
KEPT_OF_PRESETS = {"enable_conv", "lora_prefix", "exclude_name"}
"""What a weighted configuration takes over of its template's preset."""


def check_config(config: Any, accelerator: Any = None) -> None:
    """Refuse what cannot be weighted.

    Args:
        config: SimpleTuner's parsed configuration.
        accelerator: accelerate's, which may be launched otherwise than the configuration says.

    Raises:
        LokrWeightingError: says why, and what to do.
    """
    for applies, reason in REFUSALS:
        said = applies(config)
        if said:
            raise LokrWeightingError(reason.format(config=config, said=said))
    launched = getattr(getattr(accelerator, "distributed_type", None), "value", None)
    if launched in LAUNCHED:
        raise LokrWeightingError(
            f"accelerate has launched this run under {LAUNCHED[launched]}: {MEASURE_ELSEWHERE}"
        )
    _check_template(Path(config.lycoris_config))


def check_model(model: Any) -> None:
    """Refuse a loaded model whose Linears are not its own.

    Args:
        model: SimpleTuner's, before its adapter is created.

    Raises:
        LokrWeightingError: an assistant LoRA is in it.
    """
    if getattr(model, "assistant_lora_loaded", False):
        raise LokrWeightingError(
            "an assistant LoRA is loaded into the model, whose layers stand where the blocks' "
            "Linears were: set disable_assistant_lora to true, or train without this plugin"
        )


def not_used(config: Any) -> str | None:
    """What of the run's own LyCORIS configuration the plan replaces, in a sentence."""
    path = Path(config.lycoris_config)
    preset = read_config(path).apply_preset
    written = preset.model_dump(exclude_unset=True) if preset is not None else {}
    replaced = [key for key in written if key not in KEPT_OF_PRESETS]
    if not replaced:
        return None
    return (
        f"{path}: apply_preset's {', '.join(replaced)} is not used: the plan adapts every Linear "
        "of the blocks, with factors of its own. exclude_name, enable_conv and lora_prefix are "
        "kept."
    )


def check_adaptable(model: Any) -> None:
    """Before anything is measured: LyCORIS must be able to adapt every Linear of the blocks.

    Raises:
        LokrWeightingError: it cannot, e.g. for the layers of some quantisations.
    """
    entries = {f"{name}.*": {"factor": 1, "full_matrix": True} for name in block_names(model)}
    preset = {"name_algo_map": entries, "use_fnmatch": True}
    made = network_tensors(
        model, LycorisConfig.model_validate({"algo": "lokr", "apply_preset": preset})
    )
    linears = [linear.name for linear in block_linears(model)]
    without = [name for name in linears if name not in made]
    if without or not linears:
        raise LokrWeightingError(
            f"LyCORIS adapts only {len(linears) - len(without)} of the blocks' {len(linears)} "
            f"Linears in this run ({listed(without)}): choose another base_model_precision"
        )


def _check_template(path: Path) -> None:
    """Also what SimpleTuner would change silently: it makes whole numbers of three settings."""
    for key, why in simpletuner_changes(read_template(path)).items():
        raise LokrWeightingError(f"{path}: {key}: {why}")


def _get(config: Any, key: str) -> Any:
    return getattr(config, key, None)
