"""The trainers' formats: a row for each, that the command line, the plugin and the report share.

To add one, add a row to `FORMATS`. What a format needs is imported when it is prepared, so that the
command line can name the formats at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from lokr_weighting.errors import LokrWeightingError

if TYPE_CHECKING:
    from torch import nn

    from lokr_weighting.models.blocks import BlockLinear
    from lokr_weighting.models.skeleton import Skeleton
    from lokr_weighting.plan.plan import Plan
    from lokr_weighting.targets.lycoris.config import LycorisConfig
    from lokr_weighting.targets.lycoris.readback import Readback

MOST = 3  # differences that a message lists


@dataclass(frozen=True)
class Prepared:
    """A plan in a trainer's format.

    Attributes:
        read_back: what the trainer's own library makes of it, in a sentence; None where it was not
            asked.
        write: writes it to a path.
        left_out: which part of the plan the format cannot hold, in a sentence.
    """

    read_back: str | None
    write: Callable[[Path], object]
    left_out: str | None = None


@dataclass(frozen=True)
class Format:
    """A trainer's format.

    Attributes:
        name: what it is called in options.
        description: what it is, in a few words.
        output: where it is written by default.
        is_folder: whether that is a folder.
        takes_template: whether a user's own LyCORIS configuration may be its template.
        prepare: from a plan, the model (None: not to be read back) and a template.
        linears: the Linears of a model of diffusers' as the trainer has them, where its own model
            joins some into one; None: diffusers' own.
    """

    name: str
    description: str
    output: str
    is_folder: bool
    takes_template: bool
    prepare: "Callable[[Plan, nn.Module | None, LycorisConfig | None], Prepared]"
    linears: "Callable[[Skeleton], list[BlockLinear]] | None" = None


class NotExact(LokrWeightingError):  # noqa: N818  it says what the network is
    """The trainer's library would not train the plan.

    Attributes:
        readback: what it makes of every module.
        differences: where that is not the plan, in sentences.
    """

    def __init__(self, readback: "Readback", differences: list[str]) -> None:
        self.readback, self.differences = readback, differences
        why = differences or [f"{part}: {reason}" for part, reason in readback.faults.items()]
        super().__init__(f"LyCORIS {_lycoris_version()} would not train this plan: {listed(why)}")


def as_planned(library: str, version: str, modules: int, parameters: int) -> str:
    """What is said of a network that is the plan's."""
    return (
        f"{library} {version} makes all {modules} modules as planned "
        f"({parameters:,} trainable parameters)"
    )


def listed(texts: list[str]) -> str:
    """The first few of many sentences."""
    more = f"; and {len(texts) - MOST} more" if len(texts) > MOST else ""
    return "; ".join(texts[:MOST]) + more


def _lycoris_version() -> str:
    return metadata.version("lycoris-lora")


def _lycoris(
    plan: "Plan", transformer: "nn.Module | None", template: "LycorisConfig | None"
) -> Prepared:
    from lokr_weighting.targets.lycoris.config import config_of, write_config

    config = config_of(plan, template)
    said = None
    if transformer is not None:
        from lokr_weighting.targets.lycoris.readback import read_back
        from lokr_weighting.targets.tensors import differences_from_plan

        readback = read_back(transformer, config)
        differences = differences_from_plan(plan, readback.made)
        if not readback.exact or differences:
            raise NotExact(readback, differences)
        made = len(readback.modules), readback.made_parameters
        said = f"{as_planned('LyCORIS', _lycoris_version(), *made)}."
    return Prepared(said, lambda path: write_config(path, config))


def _peft(plan: "Plan", transformer: "nn.Module | None", _: "LycorisConfig | None") -> Prepared:
    from lokr_weighting.targets import peft

    said = None
    if transformer is not None:
        names = peft.adapter_names(wrapped := peft.get_peft_model(transformer, plan))
        made = len(plan.linears), _trainable(wrapped)
        said = (
            f"{as_planned('peft', metadata.version('peft'), *made)} in {len(names)} adapters: "
            f"{', '.join(names)}."
        )
    return Prepared(said, lambda path: peft.write_configs(plan, path, plan.model))


def _lora(plan: "Plan", transformer: "nn.Module | None", _: "LycorisConfig | None") -> Prepared:
    from peft import get_peft_model

    from lokr_weighting.targets.lora import left_out, lora_config, write_lora_config

    said = without = None
    if left := left_out(plan):
        without = (
            f"Left out: {len(left)} grouped convolutions ({left[0].name}, ...), "
            f"{sum(each.parameters for each in left):,} parameters of the plan: peft's LoRA wants "
            "ranks there that the number of groups divides."
        )
    if transformer is not None:
        wrapped = get_peft_model(transformer, lora_config(plan))  # pyright: ignore[reportArgumentType]
        said = (
            f"peft {metadata.version('peft')} makes {_trainable(wrapped):,} trainable parameters "
            f"of the plan's {plan.parameters:,} as LoRA; the table's splits are the LoKr's."
        )
    return Prepared(said, lambda path: write_lora_config(plan, path, plan.model), without)


def _kohya(plan: "Plan", transformer: "nn.Module | None", _: "LycorisConfig | None") -> Prepared:
    from lokr_weighting.targets.kohya.preset import preset_of, write_preset

    preset = preset_of(plan)
    said = None
    if transformer is not None:
        from lokr_weighting.models.skeleton import skeleton_of
        from lokr_weighting.targets.kohya.check import read_back_preset
        from lokr_weighting.targets.kohya.names import stand_in
        from lokr_weighting.targets.tensors import differences_from_plan

        readback = read_back_preset(stand_in(skeleton_of(transformer)), preset)
        differences = differences_from_plan(plan, readback.made)
        if not readback.exact or differences:
            raise NotExact(readback, differences)
        made = len(readback.modules), readback.made_parameters
        said = (
            f"{as_planned('LyCORIS', _lycoris_version(), *made)}, by lycoris.kohya.create_network "
            "on modules with sd-scripts' names."
        )
    return Prepared(said, lambda path: write_preset(path, plan))


def _kohya_lora(
    plan: "Plan", transformer: "nn.Module | None", _: "LycorisConfig | None"
) -> Prepared:
    from lokr_weighting.targets.kohya.lora import lora_settings, ranks_found, write_settings
    from lokr_weighting.targets.lora import ranks

    settings = lora_settings(plan)
    said = None
    if transformer is not None:
        from lokr_weighting.models.skeleton import skeleton_of

        found, wanted = ranks_found(skeleton_of(transformer), settings), ranks(plan)
        if found != wanted:
            name = next(iter({*found.items()} ^ {*wanted.items()}))[0]
            raise LokrWeightingError(
                f"sd-scripts' LoRA would give {name} rank {found.get(name, 0)} and not "
                f"{wanted.get(name, 0)}: is the plan of another model?"
            )
        made = sum(
            found[each.name] * (each.in_features + each.out_features) for each in plan.linears
        )
        said = (
            f"by the rule of sd-scripts' networks/lora_flux.py (not run: it is no library), "
            f"{len(found)} modules get their ranks and no others, {made:,} trainable parameters of "
            f"the plan's {plan.parameters:,} as LoRA; the table's splits are the LoKr's."
        )
    return Prepared(said, lambda path: write_settings(path, plan))


def _kohya_linears(model: "Skeleton") -> "list[BlockLinear]":
    from lokr_weighting.targets.kohya.names import linears

    return linears(model)


def _kohya_lora_linears(model: "Skeleton") -> "list[BlockLinear]":
    from lokr_weighting.targets.kohya.lora import check_flux

    check_flux(model)
    return _kohya_linears(model)


def _trainable(model: "nn.Module") -> int:
    return sum(each.numel() for each in model.parameters() if each.requires_grad)


LYCORIS = Format(
    "lycoris",
    "one configuration file",
    output="peft_config.json",
    is_folder=False,
    takes_template=True,
    prepare=_lycoris,
)
FORMATS = {
    row.name: row
    for row in (
        LYCORIS,
        Format(
            "peft",
            "stock LoKr adapters' configurations",
            output="adapter",
            is_folder=True,
            takes_template=False,
            prepare=_peft,
        ),
        Format(
            "lora",
            "one stock LoRA configuration with the plan's parameters",
            output="adapter",
            is_folder=True,
            takes_template=False,
            prepare=_lora,
        ),
        Format(
            "kohya",
            "a LyCORIS preset for kohya's sd-scripts (SD3, Flux)",
            output="kohya_preset.toml",
            is_folder=False,
            takes_template=False,
            prepare=_kohya,
            linears=_kohya_linears,
        ),
        Format(
            "kohya-lora",
            "ranks for the Flux LoRA of kohya's sd-scripts",
            output="kohya_lora.toml",
            is_folder=False,
            takes_template=False,
            prepare=_kohya_lora,
            linears=_kohya_lora_linears,
        ),
    )
}
"""A format's name -> the format."""
