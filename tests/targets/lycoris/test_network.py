import time
from typing import Any

import pytest
from diffusers import SD3Transformer2DModel

from lokr_weighting import LokrWeightingError
from lokr_weighting.targets.lycoris import LycorisConfig
from lokr_weighting.targets.lycoris.network import build_network, network_tensors
from lokr_weighting.targets.lycoris.readback import read_back


def test_a_configuration_that_lycoris_refuses_is_an_error_with_its_reason(
    small: SD3Transformer2DModel,
) -> None:
    config = LycorisConfig.model_validate(
        {"algo": "nothing", "apply_preset": {"target_module": ["Attention"]}}
    )
    with pytest.raises(LokrWeightingError, match="LyCORIS refuses this configuration"):
        read_back(small, config)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"factor": "x"}, "ValueError: invalid literal"),
        ({"factor": [1]}, "TypeError: int"),
        ({"algo": "lora", "linear_dim": 10**18}, "LyCORIS refuses"),
        ({"preset": "nowhere.toml"}, "preset = 'nowhere.toml' is none of its presets"),
        ({"preset": 5}, "preset = 5 is none of its presets"),
        ({"algo": "dylora", "linear_dim": 10**6, "block_size": 1}, "1,000,000 pairs of tensors"),
        ({"algo": "dylora", "linear_dim": 10**6}, "a larger block_size"),
    ],
)
def test_whatever_lycoris_does_with_odd_settings_is_one_line(
    settings: dict[str, Any], said: str, small: SD3Transformer2DModel
) -> None:
    preset = {"target_module": ["Attention"]}
    config = LycorisConfig.model_validate({"algo": "lokr", "apply_preset": preset} | settings)
    with pytest.raises(LokrWeightingError, match=said) as error:
        network_tensors(small, config)
    assert "\n" not in str(error.value)


def test_what_lycoris_prints_for_every_module_is_told_once(
    small: SD3Transformer2DModel, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = {"target_module": ["Attention"]}
    config = LycorisConfig.model_validate({"algo": "lokr", "dropout": 0.1, "apply_preset": preset})
    network = build_network(small, config)
    assert len(network.tensors) > 50
    assert network.said == ("[WARN]LoHa/LoKr haven't implemented normal dropout yet.",)
    assert read_back(small, config).notes == network.said
    assert not capsys.readouterr().out


def test_a_scalar_that_is_trained_and_not_saved_is_counted(small: SD3Transformer2DModel) -> None:
    settings = {"algo": "lokr", "apply_preset": {"target_module": ["Attention"]}}
    plain, scalar = (
        network_tensors(small, LycorisConfig.model_validate(settings | {"use_scalar": use}))
        for use in (False, True)
    )
    assert {name: {**tensors, "scalar": ()} for name, tensors in plain.items()} == scalar


def test_t_lora_takes_seconds_as_the_others_do(small: SD3Transformer2DModel) -> None:
    """It collects garbage at every module, which took a quarter of a second for each."""
    preset = {"target_module": ["JointTransformerBlock"]}
    config = {"algo": "tlora", "linear_dim": 4, "apply_preset": preset}
    before = time.perf_counter()
    made = network_tensors(small, LycorisConfig.model_validate(config))
    assert len(made) > 150
    assert time.perf_counter() - before < 0.1 * len(made)
