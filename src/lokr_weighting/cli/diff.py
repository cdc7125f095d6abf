"""`diff`: two calibrations side by side."""

from dataclasses import asdict

from lokr_weighting.cli import options
from lokr_weighting.cli.measurement import model_of_measured


def diff(
    a: options.CalibrationFolder,
    b: options.CalibrationFolder,
    model: options.MeasuredModel = None,
    budget: options.Budget = None,
    recipe: options.RecipeFile = None,
    settings: options.RecipeSettings = None,
    as_json: options.Json = False,
) -> None:
    """Two calibrations side by side: where they differ beyond chance, and what that changes."""
    from lokr_weighting.models.known import find_skeleton
    from lokr_weighting.plan.make import make_plan
    from lokr_weighting.records.reading import read_calibration
    from lokr_weighting.show.console import console
    from lokr_weighting.show.study_tables import differences_table, moved_table
    from lokr_weighting.studies.diff import differences, moved_blocks

    chosen = options.read_recipe(recipe, settings)
    measured = [read_calibration(path) for path in (a, b)]
    compared = differences(*(each.heatmaps(chosen.bins, chosen.tokens) for each in measured))
    name = model or model_of_measured(measured[0])
    skeleton = find_skeleton(name)
    moved = None
    if skeleton is not None:
        plans = [make_plan(each, skeleton, recipe=chosen, budget=budget) for each in measured]
        moved = moved_blocks(*plans)
    if as_json:
        options.print_json(
            {
                "differences": [asdict(each) | {"z": each.z} for each in compared],
                "moved": None if moved is None else [asdict(each) for each in moved],
            }
        )
        return
    out = console()
    for letter, path, each in zip("AB", (a, b), measured, strict=True):
        out.print(
            f"{letter}: {path}, {len(each.records)} samples of {model_of_measured(each)}",
            markup=False,
        )
    out.print(differences_table(compared))
    if moved is None:
        out.print(f"What it changes in the plan is not known: no model {name}; give --model")
    else:
        out.print(moved_table(moved))
