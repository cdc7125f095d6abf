from dataclasses import replace

import numpy as np

from lokr_weighting.show.damage_figure import damage_by_bin_figure
from tests.studies.made_up_groups import grouped
from tests.studies.test_ablation import made_up
from tests.studies.test_statements import as_in_the_study


def test_damage_and_both_streams_distances_stand_side_by_side() -> None:
    ablation = grouped(as_in_the_study)
    figure = damage_by_bin_figure(ablation)
    assert figure is not None
    panels = [ax for ax in figure.axes if ax.images]
    titles = [ax.get_title(loc="left") for ax in panels]
    assert titles[0].startswith("damage")
    assert titles[1:] == ["image stream", "text stream"]
    shown = np.asarray(panels[0].images[0].get_array())
    assert shown.shape == (10, 12)
    costs = {f"blocks.{i}": ablation.damage[f"blocks.{i}"].by_bin for i in range(12)}
    assert np.array_equal(shown, np.stack(list(costs.values()), axis=1))
    norm = panels[0].images[0].norm
    assert norm.vmin == -norm.vmax  # type: ignore


def test_a_stream_that_no_block_has_is_not_drawn_and_nothing_where_nothing_is_known() -> None:
    ablation = grouped()
    seen = ablation.samples_seen
    assert seen is not None
    without = replace(seen, text=np.full_like(seen.text, np.nan))
    figure = damage_by_bin_figure(replace(ablation, samples_seen=without))
    assert figure is not None
    assert len([ax for ax in figure.axes if ax.images]) == 2
    assert damage_by_bin_figure(made_up([1.0] * 4, [0.1] * 4, [0.1] * 4)) is None
