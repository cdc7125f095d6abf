"""The tables of factors, splits and sizes: `sizes`, and the page of the known models."""

from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from lokr_weighting.models.blocks import BlockLinear
from lokr_weighting.plan.file_size import BYTES_PER_PARAMETER
from lokr_weighting.plan.sizes import ShapeSizes, UniformSize, sizes_by_shape, uniform_sizes

MIB = 2**20
SHOWN = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""The factors that the page's first table shows."""
HOW_TO_READ = (
    "All factors of a row become its split, since a side is only split by its divisors. 12x8: 12 "
    "from the output's side, 8 from the input's. Sizes are of full matrices in bf16."
)
PAGE = """# Splits and sizes

A factor is a wish: LyCORIS splits each side of a weight only by its divisors, so that several
factors become one split and cost the same. **A larger factor means fewer parameters.** These are
the tables of `lokr-weighting sizes MODEL` for the models that are known by name; it also takes a
local diffusers folder or a hub id, and prints JSON with `--json`.

This page is written by `python scripts/write_sizes.py`.

## One factor for the whole model

Parameters in millions, of every Linear (and convolution) inside the blocks; two bytes each in a
bf16 file. A column is what `--budget uniform:FACTOR` costs.

"""


def sizes_table(model: str, linears: Sequence[BlockLinear]) -> RenderableType:
    """Two tables: each shape's splits with the factors they come from, and uniform factors."""
    shapes = Table(title=f"Splits in {escape(model)}", title_justify="left", box=box.SIMPLE)
    for name in ("in -> out", "modules"):
        shapes.add_column(name, justify="right")
    shapes.add_column("which", max_width=46)
    for name in ("factors", "split", "parameters each", "of all these", "MiB of all these"):
        shapes.add_column(name, justify="right")
    for shape in sizes_by_shape(linears):
        for i, split in enumerate(shape.splits):
            total = shape.count * split.parameters
            shapes.add_row(
                *((_sides(shape), str(shape.count), _names(shape)) if i == 0 else ("", "", "")),
                _span(split.low, split.high),
                split.split.label,
                f"{split.parameters:,}",
                f"{total:,}",
                f"{total * BYTES_PER_PARAMETER / MIB:,.1f}",
                end_section=split is shape.splits[-1],
            )
    return Group(shapes, _uniform_table(uniform_sizes(linears)), HOW_TO_READ)


def _uniform_table(rows: Sequence[UniformSize]) -> Table:
    table = Table(
        title="One factor for all: --budget uniform:FACTOR", title_justify="left", box=box.SIMPLE
    )
    table.add_column("factors", justify="right")
    table.add_column("splits", max_width=40)
    for name in ("parameters", "MiB in bf16", "file at most, MiB"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            _span(row.low, row.high),
            ", ".join(row.labels),
            f"{row.parameters:,}",
            f"{row.parameters * BYTES_PER_PARAMETER / MIB:,.1f}",
            f"{row.file_bytes / MIB:,.1f}",
        )
    return table


def sizes_page(models: Mapping[str, Sequence[BlockLinear]]) -> str:
    """The page of the known models, in Markdown."""
    lines = [
        _row(["model", "modules", *map(str, SHOWN)]),
        _row(["---", *["---:"] * (1 + len(SHOWN))]),
    ]
    for name, linears in models.items():
        by_factor = uniform_sizes(linears)
        lines.append(_row([name, str(len(linears)), *(_millions(by_factor, x) for x in SHOWN)]))
    parts = [PAGE + "\n".join(lines)]
    for name, linears in models.items():
        rows = [_row(["in -> out", "modules", "which", "factors -> split: parameters each"])]
        rows.append(_row(["---:", "---:", "---", "---"]))
        for shape in sizes_by_shape(linears):
            splits = "<br>".join(
                f"{_span(each.low, each.high)} -> **{each.split.label}**: {each.parameters:,}"
                for each in shape.splits
            )
            names = ", ".join(f"`{each}`" for each in _grouped(shape.names))
            rows.append(_row([_sides(shape), str(shape.count), names, splits]))
        parts.append(f"## {name}\n\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _millions(rows: Iterable[UniformSize], factor: int) -> str:
    """What a factor costs; what is beyond the last row's costs as much as that."""
    row = [each for each in rows if each.low <= factor][-1]
    return (
        f"{row.parameters / 1e6:,.1f}" if row.parameters >= 1e5 else f"{row.parameters / 1e6:.3f}"
    )


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _sides(shape: ShapeSizes) -> str:
    kernel = f" ({'x'.join(map(str, shape.kernel))})" if shape.kernel else ""
    return f"{shape.in_features} -> {shape.out_features}{kernel}"


def _names(shape: ShapeSizes) -> str:
    return escape(", ".join(_grouped(shape.names)))


def _grouped(names: Iterable[str]) -> list[str]:
    """Names that differ only in a number, said once: "experts.*.w1"."""
    plain = (
        ".".join("*" if part.isdigit() and i else part for i, part in enumerate(name.split(".")))
        for name in names
    )
    return list(dict.fromkeys(plain))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
