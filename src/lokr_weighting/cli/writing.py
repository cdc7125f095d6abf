"""Writing a plan for a trainer, once the trainer's own library has shown what it makes of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Never

import typer

from lokr_weighting.cli import options
from lokr_weighting.cli.exits import NOT_EXACT
from lokr_weighting.cli.outputs import Output, check_file, check_folder, check_outputs, plan_file
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import check_there
from lokr_weighting.targets.registry import Format, NotExact

if TYPE_CHECKING:
    from lokr_weighting.models.blocks import BlockLinear
    from lokr_weighting.models.skeleton import Skeleton
    from lokr_weighting.plan.added import Added
    from lokr_weighting.plan.plan import Plan
    from lokr_weighting.targets.lycoris.config import LycorisConfig

SHOWN = 20  # differences


@dataclass(frozen=True)
class Goal:
    """What to write, and where.

    Attributes:
        format: the trainer's format.
        output: the file or folder; None: the format's default.
        template: for LyCORIS: the user's own configuration.
        force: replace what is there.
        as_json: print JSON instead of a table.
        read_back: ask the trainer's library what it makes of the plan.
    """

    format: Format
    output: Path | None = None
    template: Path | None = None
    force: bool = field(default=False, kw_only=True)
    as_json: bool = field(default=False, kw_only=True)
    read_back: bool = field(default=True, kw_only=True)

    @property
    def path(self) -> Path:
        """The file or folder to write."""
        return self.output or Path(self.format.output)

    @property
    def plan_file(self) -> Path:
        """The plan's file beside it."""
        return self.path.with_suffix(".plan.json")

    def check(self, *inputs: Path | None) -> None:
        """Refuse to replace what may be the user's own work, or what is read.

        Args:
            inputs: what the command reads beside the template.

        Raises:
            LokrWeightingError: says what is in the way.
        """
        output, template = self.path, self.template
        (check_folder if self.format.is_folder else check_file)(output)
        check_file(self.plan_file)
        if template and not self.format.takes_template:
            raise LokrWeightingError(
                f"--template is a LyCORIS configuration; {self.format.name} has none"
            )
        if template and output.exists() and template.exists() and output.samefile(template):
            raise LokrWeightingError(f"{output}: is the template; write to another file")
        is_plan = plan_file(self.plan_file)
        check_outputs(
            [
                Output(
                    output,
                    is_plan,
                    "exists and has no plan of lokr-weighting beside it, so it may be your own",
                ),
                Output(self.plan_file, is_plan),
            ],
            [template, *inputs],
            self.force,
        )

    def linears(self, skeleton: "Skeleton") -> "list[BlockLinear] | None":
        """The model's Linears as the trainer has them, where it has others.

        Raises:
            LokrWeightingError: they are not known.
        """
        return None if self.format.linears is None else self.format.linears(skeleton)

    def read_template(self) -> "LycorisConfig | None":
        """The template, if there is one.

        Raises:
            LokrWeightingError: it cannot be read, or no plan could keep it.
        """
        if self.template is None:
            return None
        from lokr_weighting.targets.lycoris.template import read_template

        return read_template(self.template)

    def added(self) -> "Added":
        """What the template adds to every Linear.

        Raises:
            LokrWeightingError: as `read_template`.
        """
        from lokr_weighting.targets.lycoris.config import added_by

        return added_by(self.read_template())


def write(plan: "Plan", skeleton: "Skeleton", goal: Goal, *kept: Path) -> None:
    """Build the plan with the trainer's own library, and only then write it; print the table.

    Args:
        plan: the plan.
        skeleton: its model.
        goal: what to write, and where.
        kept: what was written before and must still be there.
    """
    from lokr_weighting.plan.plan import write_plan

    goal.check()
    template = goal.read_template()
    transformer = skeleton.to_module() if goal.read_back else None
    try:
        prepared = goal.format.prepare(plan, transformer, template)
    except NotExact as error:
        _refuse(error)
    # the plan first: beside it, a configuration that a kill left unwritten or old is known as ours
    write_plan(goal.plan_file, plan)
    prepared.write(goal.path)
    if not goal.plan_file.exists():
        # the folder was removed meanwhile: without a plan the configuration would be nobody's
        write_plan(goal.plan_file, plan)
    check_there([*kept, goal.path, goal.plan_file])
    if goal.as_json:
        files = [str(goal.path), str(goal.plan_file)]
        data = plan.model_dump(mode="json") | {"read_back": prepared.read_back, "files": files}
        if prepared.left_out is not None:
            data["left_out"] = prepared.left_out
        options.print_json(data)
        return
    from lokr_weighting.show.console import console
    from lokr_weighting.show.plan_tables import plan_table

    out = console()
    out.print(plan_table(plan))
    if prepared.read_back is None:
        out.print("Not read back (--no-read-back): the trainer's library was not asked.")
    else:
        out.print(f"Read back: {prepared.read_back}", markup=False)
    if prepared.left_out is not None:
        out.print(prepared.left_out, markup=False)
    out.print(f"Wrote {goal.path} and {goal.plan_file}", soft_wrap=True, markup=False)


def _refuse(error: NotExact) -> Never:
    from lokr_weighting.show.console import console
    from lokr_weighting.show.readback_tables import readback_table

    errors = console(stderr=True)
    errors.print(readback_table(error.readback))
    for difference in error.differences[:SHOWN]:
        errors.print(difference, markup=False)
    errors.print("Nothing was written: LyCORIS would not train this plan.")
    raise typer.Exit(NOT_EXACT)
