"""A configuration checked for a trainer: whose classes, which keys."""

from typing import Any

import pytest

from lokr_weighting.models.known import load_skeleton
from lokr_weighting.models.skeleton import Skeleton
from lokr_weighting.targets.lycoris import LycorisConfig
from lokr_weighting.targets.lycoris.check import Checked, check
from lokr_weighting.targets.lycoris.readback import read_back

STOCK = {
    "algo": "lokr",
    "multiplier": 1.0,
    "linear_dim": 10000,
    "linear_alpha": 1,
    "factor": 16,
    "full_matrix": True,
}
GENERIC = {
    "target_module": ["Attention", "FeedForward"],
    "module_algo_map": {"Attention": {"factor": 16}, "FeedForward": {"factor": 8}},
}


@pytest.fixture(scope="module")
def flux() -> Skeleton:
    return load_skeleton("flux.1-dev")


def checked(model: Skeleton, preset: dict[str, Any], trainer: Any = "simpletuner") -> Checked:
    return check(model, LycorisConfig.model_validate(STOCK | {"apply_preset": preset}), trainer)


def test_simpletuners_stock_flux_example_is_read_as_simpletuner_reads_it(flux: Skeleton) -> None:
    found = checked(flux, GENERIC)
    assert found.exact
    # what SimpleTuner 4.10.1 trained in a real run
    assert (len(found.readback.modules), found.readback.made_parameters) == (342, 54_705_408)
    assert found.elsewhere is not None
    trainer, elsewhere = found.elsewhere
    assert (trainer, len(elsewhere.modules), elsewhere.exact) == ("diffusers", 76, False)
    turned = checked(flux, GENERIC, "diffusers")
    assert turned.readback == elsewhere
    assert turned.elsewhere == ("simpletuner", found.readback)


def test_diffusers_class_is_not_simpletuners(flux: Skeleton) -> None:
    found = checked(flux, {"target_module": ["FluxAttention"]})
    assert not found.exact
    assert not found.readback.made
    assert found.elsewhere is not None
    assert len(found.elsewhere[1].modules) == 266


@pytest.mark.parametrize(
    "preset",
    [
        {"target_module": ["FeedForward"]},
        {"target_module": [], "name_algo_map": {"*": {}}, "use_fnmatch": True},
    ],
    ids=["same class", "names"],
)
def test_where_no_differing_class_is_named_nothing_is_said_of_others(
    flux: Skeleton, preset: dict[str, Any]
) -> None:
    assert checked(flux, preset).elsewhere is None


def test_a_model_that_simpletuners_table_lacks_is_read_with_diffusers_classes() -> None:
    model = Skeleton(
        "OtherModel",
        "diffusers",
        children={
            "a": Skeleton("Linear", "torch", "Linear", {"in_features": 8, "out_features": 8})
        },
    )
    found = checked(model, {"target_module": ["Linear"]})
    assert not found.known
    assert found.elsewhere is None
    assert found.readback == read_back(
        model.to_module(),
        LycorisConfig.model_validate(STOCK | {"apply_preset": {"target_module": ["Linear"]}}),
    )


def test_an_exact_network_with_an_unread_key_is_not_exact(flux: Skeleton) -> None:
    config = LycorisConfig.model_validate(
        STOCK | {"full_matrx": True, "apply_preset": {"target_module": ["FeedForward"]}}
    )
    found = check(flux, config, "simpletuner")
    assert found.readback.exact
    assert not found.exact
    assert list(found.unread) == ["full_matrx"]
    half = LycorisConfig.model_validate(config.written() | {"multiplier": 0.5})
    assert "multiplier" in check(flux, half, "simpletuner").changed
    assert not check(flux, half, "diffusers").changed
