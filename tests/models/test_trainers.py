"""A model's classes in the trainers; tests/plugin holds them against SimpleTuner's own."""

from lokr_weighting.models.known import load_skeleton
from lokr_weighting.models.skeleton import Skeleton
from lokr_weighting.models.trainers import as_in


def classes(model: Skeleton) -> list[tuple[str, str]]:
    return [(name, module.class_name) for name, module in model.named_modules()]


def test_fluxs_attention_is_another_class_in_simpletuner() -> None:
    model = load_skeleton("flux.1-dev")
    own = as_in(model, "simpletuner")
    assert own is not None
    named = {class_name for _, class_name in classes(own)}
    assert "Attention" in named
    assert "FluxAttention" not in named
    assert "FluxAttention" in {class_name for _, class_name in classes(model)}
    assert as_in(model, "diffusers") is model


def test_of_a_class_that_is_in_no_family_nothing_is_claimed() -> None:
    other = Skeleton("OtherTransformer2DModel", "diffusers")
    assert as_in(other, "simpletuner") is None
    assert as_in(other, "diffusers") is other
