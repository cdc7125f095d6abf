"""Keys that nothing reads, held against the network that LyCORIS makes with and without them."""

from typing import Any

import pytest
import torch
from torch import nn

from lokr_weighting.targets.lycoris import LycorisConfig
from lokr_weighting.targets.lycoris.keys import keys_without_effect
from lokr_weighting.targets.lycoris.network import network_tensors

BASE = {"algo": "lokr", "multiplier": 1.0, "linear_dim": 4, "linear_alpha": 1, "factor": 4}


def unread(entry: dict[str, Any] | None = None, **settings: Any) -> dict[str, str]:
    preset = {"target_module": ["Linear"], "module_algo_map": {"Linear": entry or {}}}
    config = LycorisConfig.model_validate(BASE | {"apply_preset": preset} | settings)
    return keys_without_effect(config, in_simpletuner=True)


def made(entry: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    preset = {"target_module": ["Linear"], "module_algo_map": {"Linear": entry or {}}}
    config = LycorisConfig.model_validate(BASE | {"apply_preset": preset} | settings)
    with torch.device("meta"):
        return network_tensors(nn.ModuleDict({"a": nn.Linear(64, 64)}), config)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"full_matrx": True}, "did you mean full_matrix?"),
        ({"weight_decompose": True}, "there it is dora_wd"),
        ({"dim": 8}, "there it is linear_dim"),
        ({"rs_lora": True}, "inside an entry"),
        ({"name_algo_map": {}}, "belongs into apply_preset"),
        ({"constraint": 1.0}, "the algorithm lokr does not read it"),
        ({"tlora_min_rank": 1}, "for the algorithm tlora alone"),
        ({"r": 8}, "LyCORIS does not read it"),
    ],
)
def test_a_key_at_the_top_that_nothing_reads_is_named_and_changes_nothing(
    settings: dict[str, Any], said: str
) -> None:
    (key,) = settings
    assert said in unread(**settings)[key]
    if not key.startswith("tlora"):
        assert made(**settings) == made()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"factr": 2}, "did you mean factor?"),
        ({"dora_wd": True}, "there it is weight_decompose"),
        ({"linear_dim": 2}, "there it is dim"),
        ({"block_size": 2}, "the algorithm lokr does not read it"),
        ({"algo": "loha", "factor": 2}, "the algorithm loha does not read it"),
        ({"train_norm": True}, "at the top alone"),
    ],
)
def test_a_key_of_an_entry_that_nothing_reads_is_named_and_changes_nothing(
    entry: dict[str, Any], said: str
) -> None:
    key = list(entry)[-1]
    assert said in unread(entry)[f"{key} in 1 entry"]
    assert made(entry) == made({other: entry[other] for other in list(entry)[:-1]})


@pytest.mark.parametrize(
    ("settings", "entry"),
    [
        ({"dora_wd": True}, {}),
        ({"dora_wd": True, "wd_on_output": False}, {}),
        ({"use_scalar": True}, {}),
        ({"full_matrix": True}, {}),
        ({"decompose_both": True, "linear_dim": 1}, {}),
        ({"unbalanced_factorization": True}, {"factor": 2}),
        ({}, {"weight_decompose": True}),
        ({}, {"full_matrix": True}),
        ({}, {"dim": 2}),
        ({}, {"algo": "full"}),
        ({"algo": "diag-oft", "rescaled": True, "constraint": 1, "factor": -1}, {}),
        ({"algo": "dylora", "block_size": 2, "factor": -1}, {}),
    ],
)
def test_a_key_that_is_read_is_not_named(settings: dict[str, Any], entry: dict[str, Any]) -> None:
    assert unread(entry, **settings) == {}


def test_what_is_for_kohyas_trainer_is_named() -> None:
    config = LycorisConfig.model_validate(
        BASE | {"apply_preset": {"target_module": ["Linear"], "unet_target_module": ["Linear"]}}
    )
    found = keys_without_effect(config, in_simpletuner=True)
    assert "only kohya's trainer reads it; here it is target_module" in found.popitem()[1]


def test_a_default_that_is_written_out_is_no_mistake() -> None:
    assert unread(constraint=False, rescaled=False, use_tucker=False) == {}


def test_simpletuners_own_keys_are_read_by_simpletuner_alone() -> None:
    config = LycorisConfig.model_validate({**BASE, "algo": "tlora", "factor": -1, "tlora_alpha": 1})
    assert keys_without_effect(config, in_simpletuner=True) == {}
    assert list(keys_without_effect(config, in_simpletuner=False)) == ["tlora_alpha"]
