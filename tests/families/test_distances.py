"""Every family's distances are those of an independent slow reference."""

import math

import pytest
import torch

from lokr_weighting import Probe
from tests.families.slow import distances, last_of, mean_of
from tests.families.tiny import TINY, model_and_inputs

CLOSE = 1e-6


@pytest.mark.parametrize("name", TINY)
def test_every_block_and_stream_is_that_of_a_slow_reference(name: str) -> None:
    model, inputs = model_and_inputs(name)
    expected = distances(model, inputs, TINY[name].reads)
    with Probe(model) as probe, torch.no_grad():
        found = probe.measure(lambda: model(**inputs))
    assert [block.name for block in probe.blocks] == list(expected)
    for place, (block, (image, text)) in enumerate(expected.items()):
        real_image, real_text = TINY[name].counted(block)
        assert found.has_image[place] == (image is not None)
        assert found.has_text[place] == (text is not None)
        for sample in range(2):
            for own, distance, real in (
                (found.image[sample, place], image, real_image),
                (found.text[sample, place], text, real_text),
            ):
                wanted = mean_of(distance, real, sample)
                assert math.isnan(wanted) == math.isnan(own)
                assert math.isnan(own) or abs(own - wanted) < CLOSE, (block, own, wanted)
            if image is not None:
                wanted = last_of(image, real_image, sample)
                assert abs(found.image_last[sample, place] - wanted) < CLOSE
            if text is not None:
                wanted = last_of(text, real_text, sample)
                assert abs(found.text_last_real[sample, place] - wanted) < CLOSE
