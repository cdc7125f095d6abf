from dataclasses import replace

import pytest

from lokr_weighting.models.blocks import Stream
from lokr_weighting.show.changes import change_columns, change_remarks, change_rows, use_sentence
from lokr_weighting.show.changes_figure import changes_figure
from lokr_weighting.show.console import as_text
from lokr_weighting.studies.changes import AdapterStudy, BlockChange, LinearChange
from lokr_weighting.studies.uses import Use
from lokr_weighting.targets.adapter import Change, Part

PARTS = (Part("w1", 2.0, 4, 0.8, 1.0), Part("w2", 6.0, 12, 0.9, 3.0))
CHANGE = Change("LoKr", 160, {"lokr_w1": (4, 4), "lokr_w2": (12, 12)}, 3.0, PARTS)
LINEAR = LinearChange("layers.0.to_q", "layers.0", "image", CHANGE, 30.0, 160, (4,))
USE = Use("layers", "text", "change", 12, 0.7, 0.2, 0.9, 0.004, True)


def block(name: str | None, stream: Stream | None, **changes: object) -> BlockChange:
    parts = {"w1": 0.5, "w2": 0.5}
    made = BlockChange(
        name,
        stream,
        2,
        2,
        160,
        160,
        (4, 8),
        3.0,
        30.0,
        parts,
        0.25,
        0.72,  # type: ignore[arg-type]
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def study(**changes: object) -> AdapterStudy:
    blocks = (
        block("layers.0", "image"),
        block("layers.0", "text", adapted=0, parameters=0, parts={}, norm=0.0, weight=None),
        block("layers.1", None, factors=(4,)),
        block(None, None, planned=0, factors=()),
    )
    made = AdapterStudy("a[b].safetensors", "sd3", "1", "w", (LINEAR,), blocks, (USE,), (), 0)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_row_says_what_was_given_changed_and_used() -> None:
    rows = [dict(zip(change_columns(study()), row, strict=True)) for row in change_rows(study())]
    assert rows[0] == {
        "block": "layers.0",
        "stream": "image",
        "Linears": "2",
        "parameters": "160",
        "planned": "160",
        "factor": "4 to 8",
        "change": "3",
        "of the weights": "10.00%",
        "w1 used": "50%",
        "w2 used": "50%",
        "used": "25%",
        "noise": "72%",
    }
    assert (rows[1]["Linears"], rows[1]["used"], rows[1]["change"]) == ("0/2", "-", "-")
    assert (rows[2]["stream"], rows[2]["factor"]) == ("both", "4")
    assert (rows[3]["block"], rows[3]["stream"]) == ("outside the blocks", "-")


def test_without_weights_only_the_change_itself_is_given_and_that_is_said() -> None:
    alone = study(weights=None, plan=None, blocks=(block("layers.0", "image", planned=None),))
    assert "of the weights" not in change_columns(alone)
    assert "planned" not in change_columns(alone)
    assert [len(row) for row in change_rows(alone)] == [len(change_columns(alone))]
    said = " ".join(change_remarks(alone))
    assert "Only the change itself is given: the weights of sd3 are not at hand" in said
    assert "where the adapter puts it" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "The adapter is the plan's"),
        ({"differences": ("a", "b", "c", "d")}, "is NOT the plan's: a; b; c; and 1 more."),
        ({"left_out": 9}, "9 modules of text encoders are left out."),
        (
            {"linears": (replace(LINEAR, change=replace(CHANGE, norm=0.0)),)},
            "Modules that change nothing at all: 1 of 1 (layers.0.to_q).",
        ),
        ({"linears": (replace(LINEAR, weight=None),)}, "do not have that weight as it is"),
    ],
)
def test_what_a_reader_must_know_is_said(changes: dict[str, object], said: str) -> None:
    assert said in " ".join(change_remarks(study(**changes)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "layers, text stream: blocks with more parameters changed more (rank correlation"),
        ({"rho": -0.7}, "blocks with more parameters changed less (rank correlation -0.70"),
        ({"beyond": False}, "the change does not go with the parameters beyond chance"),
        ({"measure": "used"}, "use a larger share of their capacity, over noise's (rank"),
        ({"measure": "used", "rho": -0.7}, "use a smaller share of their capacity"),
        ({"measure": "used", "beyond": False, "stream": None}, "layers: the share that is used"),
        ({"rho": None, "chance": None}, "nothing to compare (change): the 12 blocks are too few"),
    ],
)
def test_a_comparison_is_a_sentence(changes: dict[str, object], said: str) -> None:
    assert said in use_sentence(replace(USE, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{}, {"weights": None}, {"plan": None}])
def test_the_figure_has_a_panel_for_each_question(changes: dict[str, object]) -> None:
    figure = changes_figure(study(**changes))
    given, changed, used = figure.axes
    assert given.get_ylabel() == f"parameters ({'adapter' if 'plan' in changes else 'plan'})"
    relative = "norm of the change" if "weights" in changes else "change of the weights (%)"
    assert changed.get_ylabel() == relative
    assert used.get_ylim() == (-3, 103)
    assert len(used.lines) == 2 * 2  # two streams, and noise for each


def test_names_are_no_markup() -> None:
    from lokr_weighting.show.changes import changes_table

    assert "a[b].safetensors" in as_text(changes_table(study()))
