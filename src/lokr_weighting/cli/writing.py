"""Writing a plan for a trainer: planned, built by the trainer's own library, compared, written."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Never

import typer

from lokr_weighting.cli import options
from lokr_weighting.errors import LokrWeightingError

if TYPE_CHECKING:
    from torch import nn

    from lokr_weighting.calibration import Calibration
    from lokr_weighting.heatmaps import Heatmaps
    from lokr_weighting.plan import Plan
    from lokr_weighting.readback import Readback
    from lokr_weighting.recipe import Recipe
    from lokr_weighting.records import Records

NOT_EXACT = 1


@dataclass(frozen=True)
class Goal:
    """What to write, and where.

    Attributes:
        target: the trainer's format.
        output: the file or folder; None: the target's default.
        template: for LyCORIS: the user's own configuration.
        force: replace what is there.
        as_json: print JSON instead of a table.
    """

    target: options.Target = "lycoris"
    output: Path | None = None
    template: Path | None = None
    force: bool = False
    as_json: bool = False

    @property
    def path(self) -> Path:
        """The file or folder to write."""
        return self.output or Path(DEFAULTS[self.target])

    @property
    def plan_file(self) -> Path:
        """The plan's file beside it."""
        return self.path.with_suffix(".plan.json")

    def check(self) -> None:
        """Refuse to replace what may be the user's own work.

        Raises:
            LokrWeightingError: says what is in the way.
        """
        output, template = self.path, self.template
        if self.target == "lycoris" and output.is_dir():
            raise LokrWeightingError(f"{output}: is a folder; give a file's name with --output")
        if self.target != "lycoris":
            options.check_folder(output)
        if template and self.target != "lycoris":
            raise LokrWeightingError("--template is a LyCORIS configuration; peft has none")
        if template and output.exists() and template.exists() and output.samefile(template):
            raise LokrWeightingError(f"{output}: is the template; write to another file")
        taken = any(output.iterdir()) if output.is_dir() else output.exists()
        if taken and not self.plan_file.exists() and not self.force:
            raise LokrWeightingError(
                f"{output}: exists and has no plan beside it, so it may be your own; "
                "--force replaces it, --output writes elsewhere"
            )


DEFAULTS: dict[options.Target, str] = {
    "lycoris": "peft_config.json",
    "peft": "adapter",
    "lora": "adapter",
}


def write(
    measured: "Calibration | Records | Heatmaps",
    transformer: "nn.Module",
    model: str,
    recipe: "Recipe",
    budget: str | None,
    goal: Goal,
) -> None:
    """Plan, build it with the trainer's own library, and only then write it, and the table."""
    from lokr_weighting.plan import make_plan, write_plan

    goal.check()
    plan = make_plan(measured, transformer, recipe, budget, model)
    said = WRITERS[goal.target](plan, transformer, goal)
    write_plan(goal.plan_file, plan)
    if goal.as_json:
        files = [str(goal.path), str(goal.plan_file)]
        options.print_json(plan.model_dump(mode="json") | {"files": files})
        return
    from lokr_weighting.tables import console, plan_table

    out = console()
    out.print(plan_table(plan))
    out.print(said, markup=False)
    out.print(f"Wrote {goal.path} and {goal.plan_file}", soft_wrap=True, markup=False)


def _write_lycoris(plan: "Plan", transformer: "nn.Module", goal: Goal) -> str:
    from lokr_weighting.readback import differences_from_plan, read_back
    from lokr_weighting.targets.lycoris import config_of, read_config, write_config

    config = config_of(plan, read_config(goal.template) if goal.template else None)
    readback = read_back(transformer, config)
    differences = differences_from_plan(plan, readback.made)
    if not readback.exact or differences:
        _refuse(readback, differences)
    write_config(goal.path, config)
    return (
        f"Read back: LyCORIS {metadata.version('lycoris-lora')} makes all "
        f"{len(readback.modules)} modules as planned "
        f"({readback.made_parameters:,} trainable parameters)."
    )


def _write_peft(plan: "Plan", transformer: "nn.Module", goal: Goal) -> str:
    from lokr_weighting.targets import peft

    wrapped = peft.get_peft_model(transformer, plan)
    count = sum(each.numel() for each in wrapped.parameters() if each.requires_grad)
    names = peft.write_configs(plan, goal.path, plan.model)
    return (
        f"Read back: peft {metadata.version('peft')} makes all {len(plan.linears)} modules as "
        f"planned ({count:,} trainable parameters) in {len(names)} adapters: {', '.join(names)}."
    )


def _write_lora(plan: "Plan", transformer: "nn.Module", goal: Goal) -> str:
    from peft import get_peft_model

    from lokr_weighting.targets.lora import lora_config, write_lora_config

    wrapped = get_peft_model(transformer, lora_config(plan))  # pyright: ignore[reportArgumentType]
    count = sum(each.numel() for each in wrapped.parameters() if each.requires_grad)
    write_lora_config(plan, goal.path, plan.model)
    return (
        f"As LoRA, peft {metadata.version('peft')} makes {count:,} trainable parameters of the "
        f"plan's {plan.parameters:,}; the table's splits are the LoKr's."
    )


WRITERS: "dict[options.Target, Callable[[Plan, nn.Module, Goal], str]]" = {
    "lycoris": _write_lycoris,
    "peft": _write_peft,
    "lora": _write_lora,
}


def _refuse(readback: "Readback", differences: list[str]) -> Never:
    from lokr_weighting.tables import console, readback_table

    errors = console(stderr=True)
    errors.print(readback_table(readback))
    for difference in differences[:20]:
        errors.print(difference, markup=False)
    errors.print("Nothing was written: LyCORIS would not train this plan.")
    raise typer.Exit(NOT_EXACT)
