import re

from lokr_weighting import load_reference
from lokr_weighting.show.findings import (
    COLUMNS,
    finding_rows,
    findings_at,
    findings_remarks,
    headlines,
    sentence,
)
from lokr_weighting.show.findings_figure import findings_figure
from lokr_weighting.studies.findings import Finding, findings_of


def test_a_sentence_says_what_where_and_how_sure() -> None:
    island = Finding("island", "text", (19, 20, 21), 2.04, 0.0021, 0.97)
    assert sentence(island) == (
        "Blocks 19 to 21, the text stream: 2.0 times the mean of the other blocks "
        "(p = 0.002, in 97% of resamples)."
    )
    idle = Finding("idle", None, (7,), 0.48)
    assert sentence(idle) == (
        "Block 7, both streams: 48% of the median block's distance, over both streams."
    )
    falling = Finding("gradient", "image", (4,), -0.18, 0.0001)
    assert sentence(falling) == (
        "Block 4, the image stream: falls by 18% of its mean towards noise (p < 0.001)."
    )


def test_headlines_draw_neighbours_together() -> None:
    found = [Finding("gradient", "text", (block,), 0.3, 0.01) for block in (1, 4, 5, 6)]
    assert headlines(found) == ["Gradients, text: 1, 4 to 6"]


def test_only_blocks_and_streams_that_were_found_are_named() -> None:
    island = Finding("island", "text", (0, 1, 4, 5), 2.0, 0.01)
    assert sentence(island).startswith("Blocks 0 to 1, 4 to 5, the text stream: 2.0 times")
    idle = Finding("idle", "text", (1,), 0.4)
    assert sentence(idle) == "Block 1, the text stream: 40% of the median block's distance."


def test_a_block_is_told_what_was_found_at_it() -> None:
    found = [
        Finding("critical", "image", (0,), 0.6),
        Finding("critical", "text", (0,), 0.7),
        Finding("island", "text", (0, 1), 2.0, 0.01),
        Finding("joint", None, (1,), 0.2, 0.01),
    ]
    assert findings_at(found, 0) == "critical (image, text), island 0 to 1 (text)"
    assert findings_at(found, 1) == "island 0 to 1 (text), joint (both)"
    assert findings_at(found, 2) == ""


def test_every_finding_has_a_row_and_every_kind_a_meaning() -> None:
    found = findings_of(load_reference("sd3.5-large"))
    rows = finding_rows(found)
    assert len(rows) == len(found)
    assert all(len(row) == len(COLUMNS) for row in rows)
    remarks = findings_remarks(found, samples_known=False)
    assert len([line for line in remarks if re.match(r"[A-Z][a-z ]+: ", line)]) == 6
    assert "these heatmaps' samples are not known" in remarks[-1]
    assert "Not found: idle blocks" in " ".join(findings_remarks(found[:2], samples_known=True))


def test_the_figure_frames_islands_and_marks_blocks() -> None:
    reference = load_reference("sd3.5-large")
    found = findings_of(reference)
    figure = findings_figure(reference, found)
    image, text = (ax for ax in figure.axes if ax.get_title())
    frames = [patch.get_extents() for patch in text.patches]
    assert len(frames) == 1
    (low, _), (high, _) = text.transData.inverted().transform(frames[0].get_points())
    assert (round(low, 1), round(high, 1)) == (18.5, 31.5)
    legend = image.get_legend()
    assert legend is not None
    assert "falls towards noise" in [label.get_text() for label in legend.get_texts()]
