"""The plan as a LyCORIS configuration (SimpleTuner's `lycoris_config`), in the form that works.

LyCORIS takes the first pattern that matches, claims whole classes before it looks at names, and
keeps the value of every preset key that a configuration leaves out. So: no classes, exceptions
before patterns, the block's named parts before its rest, and every key written.
"""

from collections import Counter
from collections.abc import Iterable
from copy import deepcopy
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import read_model, write_json
from lokr_weighting.plan.added import Added
from lokr_weighting.plan.file_size import PREFIX
from lokr_weighting.plan.plan import LinearPlan, Plan
from lokr_weighting.targets.lycoris.reads import installed_reads
from lokr_weighting.targets.tensors import FULL_MATRIX_RANK, check_names

SETTINGS: dict[str, Any] = {
    "algo": "lokr",
    "multiplier": 1.0,
    "linear_dim": FULL_MATRIX_RANK,
    "linear_alpha": 1,
    "factor": 1,
    "full_matrix": True,
}
"""What a configuration without a template says beside its preset."""


def _no_text(value: Any) -> Any:
    """A number in quotation marks is none for LyCORIS, and SimpleTuner reads "1.0" as none."""
    if isinstance(value, str | bool):
        raise ValueError("a number is wanted here, without quotation marks")
    return value


Number = Annotated[float, BeforeValidator(_no_text), Field(allow_inf_nan=False)]


class Preset(BaseModel):
    """A LyCORIS preset: every key that LyCORIS reads here or allows; LyCORIS refuses others."""

    model_config = ConfigDict(extra="forbid", strict=True)

    enable_conv: bool = True
    target_module: list[str] = []
    target_name: list[str] = []
    module_algo_map: dict[str, dict[str, Any]] = {}
    name_algo_map: dict[str, dict[str, Any]] = {}
    lora_prefix: Annotated[str, Field(max_length=256)] = "lycoris"
    use_fnmatch: bool = False
    exclude_name: list[str] = []
    unet_target_module: list[str] = []
    unet_target_name: list[str] = []
    text_encoder_target_module: list[str] = []
    text_encoder_target_name: list[str] = []


class LycorisConfig(BaseModel):
    """A LyCORIS configuration file: keyword arguments of `create_lycoris`, and a preset.

    Other keys than these are arguments of the algorithms and are kept as they are.
    """

    model_config = ConfigDict(extra="allow")

    algo: str = "lora"
    multiplier: Number = 1.0
    linear_dim: Annotated[int, BeforeValidator(_no_text), Field(ge=1)] | None = 4
    linear_alpha: Number | None = 1
    apply_preset: Preset | None = None

    def written(self) -> dict[str, Any]:
        """The file's content: only the keys that were written in it."""
        return self.model_dump(exclude_unset=True)


def read_config(path: Path) -> LycorisConfig:
    """Read a LyCORIS configuration file.

    Raises:
        LokrWeightingError: missing, no JSON, a preset key that LyCORIS does not know, or a value
            of the wrong kind; names file and key.
    """
    return read_model(path, LycorisConfig)


def write_config(path: Path, config: LycorisConfig) -> None:
    """Write a LyCORIS configuration file."""
    write_json(path, config.written())


def config_of(plan: Plan, template: LycorisConfig | None = None) -> LycorisConfig:
    """The configuration that makes LyCORIS train the plan.

    Args:
        plan: the plan.
        template: a configuration whose other settings (dora_wd, dropout, bypass_mode, alpha, ...)
            are kept; what it adapts and with which factors is the plan's.

    Raises:
        LokrWeightingError: the template asks for something that would make the plan untrue:
            another algorithm, an unbalanced factorization, or an excluded Linear; or the plan is
            for another trainer's names.
    """
    check_names(plan)
    settings = deepcopy(SETTINGS)
    preset = Preset()
    if template is not None:
        _check_template(plan, template)
        settings |= template.written()
        settings["full_matrix"] = True
        preset = template.apply_preset or preset
    settings["apply_preset"] = {
        "enable_conv": preset.enable_conv,
        "target_module": [],
        "target_name": [],
        "module_algo_map": {},
        "name_algo_map": _name_algo_map(plan),
        "lora_prefix": preset.lora_prefix,
        "use_fnmatch": True,
        "exclude_name": preset.exclude_name,
    }
    return LycorisConfig.model_validate(settings)


def added_by(template: LycorisConfig | None) -> Added:
    """What a template has LyCORIS train beside each Linear's two matrices.

    Args:
        template: as for `config_of`.
    """
    settings = template.written() if template is not None else {}
    scales = _is_true(settings.get("dora_wd", False))
    # before LyCORIS had the key, the scales were on the input
    on_output = "wd_on_output" in installed_reads().top and _is_true(
        settings.get("wd_on_output", True)
    )
    return Added(
        for_output=int(scales and on_output),
        for_input=int(scales and not on_output),
        each=int(_is_true(settings.get("use_scalar", False))),
    )


def check_settings(template: LycorisConfig) -> None:
    """Refuse a template that would make any plan untrue.

    Raises:
        LokrWeightingError: another algorithm, an unbalanced factorization, or norms that are
            trained too.
    """
    settings = template.written()
    if template.algo != "lokr":
        raise LokrWeightingError(
            f"the template's algo is {template.algo!r}; a plan is for 'lokr', so set algo to 'lokr'"
        )
    if _is_true(settings.get("unbalanced_factorization", False)):
        raise LokrWeightingError(
            "the template's unbalanced_factorization swaps w1 and w2 and with them every split of "
            "the plan; remove it"
        )
    if _is_true(settings.get("train_norm", False)):
        raise LokrWeightingError(
            "the template's train_norm trains the norms that the plan's patterns match, which no "
            "plan counts; remove it"
        )


def _is_true(value: Any) -> bool:
    """As LyCORIS reads it: null and 0 are true."""
    return str(value).lower() != "false"


def _name_algo_map(plan: Plan) -> dict[str, dict[str, Any]]:
    """Block by block: Linears that differ from the rest under their pattern, then the patterns.

    Where a block is planned in part, its pattern would adapt what is left out: each Linear has its
    own name there.
    """
    entries: dict[str, int] = {}
    if plan.selected is not None and plan.selected.stream is not None:
        entries = {linear.name: linear.factor for linear in plan.linears}
    for index, _ in enumerate(plan.blocks if not entries else ()):
        under: dict[str, list[LinearPlan]] = {}
        for linear in plan.linears:
            if linear.block == index:
                under.setdefault(linear.pattern, []).append(linear)
        common = {
            pattern: Counter(linear.factor for linear in linears).most_common(1)[0][0]
            for pattern, linears in under.items()
        }
        entries |= {
            linear.name: linear.factor
            for pattern, linears in under.items()
            for linear in linears
            if linear.factor != common[pattern]
        }
        entries |= {pattern: common[pattern] for pattern in _most_specific_first(common)}
    return {
        pattern: {"algo": "lokr", "factor": factor, "full_matrix": True}
        for pattern, factor in entries.items()
    }


def _most_specific_first(patterns: Iterable[str]) -> list[str]:
    return sorted(patterns, key=len, reverse=True)


def _check_template(plan: Plan, template: LycorisConfig) -> None:
    check_settings(template)
    preset = template.apply_preset or Preset()
    if len(preset.lora_prefix) > len(PREFIX) and (plan.budget or "").endswith("B"):
        raise LokrWeightingError(
            f"the template's lora_prefix {preset.lora_prefix!r} makes a file's names longer than "
            f"the budget {plan.budget} allows for; remove it, or give the budget in parameters"
        )
    added = added_by(template)
    for linear in plan.linears:
        if (own := added.of(linear.out_features, linear.in_features)) != linear.added:
            raise LokrWeightingError(
                f"the template adds {own:,} parameters to {linear.name} and the plan counts "
                f"{linear.added:,}; make the plan with added=added_by(template)"
            )
    _check_convolutions(plan, template)
    for pattern in preset.exclude_name:
        excluded = [linear.name for linear in plan.linears if fnmatchcase(linear.name, pattern)]
        if excluded:
            raise LokrWeightingError(
                f"the template's exclude_name {pattern!r} leaves out {len(excluded)} Linears of "
                f"the plan ({excluded[0]}, ...); remove it"
            )


def _check_convolutions(plan: Plan, template: LycorisConfig) -> None:
    """Refuse settings that LyCORIS cannot follow for a convolution of the plan."""
    preset = template.apply_preset or Preset()
    # LyCORIS asks the kernel's first side alone, and counts a 1 as a Linear
    wide = [linear.name for linear in plan.linears if linear.kernel and linear.kernel[0] > 1]
    if wide and not preset.enable_conv:
        raise LokrWeightingError(
            f"the template's enable_conv leaves out {len(wide)} convolutions of the plan "
            f"({wide[0]}, ...); remove it"
        )
    grouped = [linear.name for linear in plan.linears if linear.groups > 1]
    if grouped and _is_true(template.written().get("bypass_mode", False)):
        raise LokrWeightingError(
            "the template's bypass_mode runs a grouped convolution as if it had no groups, and the "
            f"plan has {len(grouped)} ({grouped[0]}, ...); remove it"
        )
