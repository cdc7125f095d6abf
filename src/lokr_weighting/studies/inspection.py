"""Studying a trained adapter: its weights one by one, then drawn together by block and stream."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from lokr_weighting.models.blocks import BlockLinear, Stream, block_linears
from lokr_weighting.models.skeleton import Skeleton
from lokr_weighting.models.weights import Weights
from lokr_weighting.plan.plan import LinearPlan, Plan
from lokr_weighting.studies.changes import AdapterStudy, BlockChange, LinearChange
from lokr_weighting.studies.uses import Use, uses_of
from lokr_weighting.targets.adapter import Change, differences_of, open_adapter
from lokr_weighting.targets.adapter.places import Place


def study_adapter(
    path: Path,
    model: Skeleton,
    name: str,
    *,
    weights: Path | None = None,
    plan: Plan | None = None,
    on_progress: Callable[[int, int], object] = lambda *_: None,
) -> AdapterStudy:
    """What a trained adapter did to a model.

    Args:
        path: as for `open_adapter`.
        model: the modules of the model it was trained on.
        name: the model's name.
        weights: the transformer's own folder, for the norms of its weights.
        plan: what it was trained with.
        on_progress: called with how many weights are done, and of how many.

    Raises:
        LokrWeightingError: the adapter cannot be read, or is of another model.
    """
    own = {linear.name: linear for linear in block_linears(model)}
    planned = {} if plan is None else {linear.name: linear for linear in plan.linears}
    rows: list[LinearChange] = []
    changes: dict[Place, Change] = {}
    with open_adapter(path, model) as adapter, Weights(weights) as norms:
        total = len(adapter.modules)
        for place, change in adapter.changes():
            changes[place] = change
            rows.append(_row(place, change, norms, own, planned))
            on_progress(len(rows), total)
        differences = [] if plan is None else differences_of(plan, changes)
        blocks = _blocks(rows, list(own.values()), norms, plan is not None)
        left_out = len(adapter.left_out)
    return AdapterStudy(
        str(path),
        name,
        None if plan is None else plan.identity,
        None if weights is None else str(weights),
        tuple(rows),
        tuple(blocks),
        tuple(_uses(blocks)),
        tuple(differences),
        left_out,
    )


def _row(
    place: Place,
    change: Change,
    norms: Weights,
    own: dict[str, BlockLinear],
    planned: dict[str, LinearPlan],
) -> LinearChange:
    linear = own.get(place.parts[0][0])
    asked = [planned[name] for name in _planned_names(place, planned)]
    return LinearChange(
        place.name,
        None if linear is None else linear.block,
        None if linear is None else linear.stream,
        change,
        _together([norms.norm(name, shape) for name, shape in place.parts]),
        sum(each.parameters for each in asked) if asked else None,
        tuple(sorted({each.factor for each in asked})),
    )


def _planned_names(place: Place, planned: dict[str, LinearPlan]) -> list[str]:
    """The plan's Linears in a place: itself, or those that were fused."""
    if place.name in planned:
        return [place.name]
    return [name for name, _ in place.parts if name in planned]


def _blocks(
    rows: Sequence[LinearChange], own: Sequence[BlockLinear], norms: Weights, with_plan: bool
) -> list[BlockChange]:
    """The rows drawn together by block and stream, in the model's order."""
    groups: dict[tuple[str, Stream | None], list[BlockLinear]] = {}
    for linear in own:
        groups.setdefault((linear.block, linear.stream), []).append(linear)
    found = []
    for (block, stream), linears in groups.items():
        inside = [row for row in rows if (row.block, row.stream) == (block, stream)]
        weight = None
        if inside:
            weight = _together([norms.norm(each.name, each.shape) for each in linears])
        found.append(_block(block, stream, len(linears), inside, weight, with_plan))
    outside = [row for row in rows if row.block is None]
    if outside:
        weight = _together([row.weight for row in outside])
        found.append(_block(None, None, len(outside), outside, weight, with_plan))
    return found


def _block(
    block: str | None,
    stream: Stream | None,
    linears: int,
    rows: Sequence[LinearChange],
    weight: float | None,
    with_plan: bool,
) -> BlockChange:
    parameters = sum(row.change.parameters for row in rows)
    parts: dict[str, float] = {}
    of_part: Counter[str] = Counter()
    for row in rows:
        for part in row.change.parts:
            of_part[part.name] += row.change.parameters
            parts[part.name] = parts.get(part.name, 0) + part.used * row.change.parameters
    used = sum(row.change.used * row.change.parameters for row in rows)
    noise = sum(row.change.noise * row.change.parameters for row in rows)
    return BlockChange(
        block,
        stream,
        linears,
        len(rows),
        parameters,
        sum(row.planned or 0 for row in rows) if with_plan else None,
        tuple(sorted({factor for row in rows for factor in row.factors})),
        math.hypot(*(row.change.norm for row in rows)),
        weight,
        {name: share / of_part[name] for name, share in parts.items()},
        used / parameters if parameters else 0.0,
        noise / parameters if parameters else 0.0,
    )


def _uses(blocks: Sequence[BlockChange]) -> list[Use]:
    """Over the blocks of each list and stream: does the change go with the capacity?"""
    groups: dict[tuple[str, Stream | None], list[BlockChange]] = {}
    for each in blocks:
        if each.block is not None and each.adapted:
            groups.setdefault((each.block.rpartition(".")[0], each.stream), []).append(each)
    measured = []
    for (path, stream), members in groups.items():
        given = [each.parameters if each.planned is None else each.planned for each in members]
        relative = [each.relative for each in members]
        known = [each for each in relative if each is not None]
        change = known if len(known) == len(members) else [each.norm for each in members]
        measured.append((path, stream, "change", given, change))
        measured.append((path, stream, "used", given, [each.used / each.noise for each in members]))
    return uses_of(measured)


def _together(norms: Sequence[float | None]) -> float | None:
    """The norm of several weights together; None where one is not known."""
    known = [norm for norm in norms if norm is not None]
    return math.hypot(*known) if len(known) == len(norms) else None
