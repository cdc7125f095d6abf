import pytest
from diffusers import SD3Transformer2DModel

from lokr_weighting import LokrWeightingError
from lokr_weighting.targets.lycoris import LycorisConfig
from lokr_weighting.targets.lycoris.readback import read_back


def test_a_configuration_that_lycoris_refuses_is_an_error_with_its_reason(
    small: SD3Transformer2DModel,
) -> None:
    config = LycorisConfig.model_validate(
        {"algo": "nothing", "apply_preset": {"target_module": ["Attention"]}}
    )
    with pytest.raises(LokrWeightingError, match="LyCORIS refuses this configuration"):
        read_back(small, config)
