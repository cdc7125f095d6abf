import json
from importlib.metadata import version

import pytest

from tests.targets.other_lycoris import told_on


@pytest.mark.slow
@pytest.mark.parametrize("lycoris", ["3.2.0", "3.4.0", version("lycoris-lora")])
def test_a_plan_takes_effect_exactly_on_every_lycoris(lycoris: str) -> None:
    """SD3, SD3.5 with dual attention, Flux and AuraFlow, and what Sana has of convolutions."""
    said = told_on(lycoris, "tests.exact_on_this_lycoris")
    assert json.loads(said[-1]) == {
        "version": lycoris,
        "sd3.5-large": True,
        "sd3-medium": True,
        "sd3.5-medium": True,
        "flux.1-dev": True,
        "auraflow-v0.3": True,
        # those take a grouped convolution for one without groups, and cannot run it
        "not as planned": [] if lycoris == version("lycoris-lora") else ["conv_depth"],
        "published": [178, 1_123_057_848],
        "unread": ["full_matrx"],
    }
