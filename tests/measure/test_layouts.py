"""Which tokens count where a model lays them out in its own way; what cannot be told is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lokr_weighting import LokrWeightingError, Probe, register_family
from lokr_weighting.measure import layouts
from lokr_weighting.measure.layout import Layout
from lokr_weighting.measure.layouts import register_layout
from lokr_weighting.models import table
from lokr_weighting.models.family import BlockList, Family, Streams
from lokr_weighting.models.table import family_of
from tests.families.tiny import model_and_inputs
from tests.tiny_models import model_and_inputs as flux_and_inputs


def test_a_samples_distances_are_the_same_alone_and_beside_a_larger_one() -> None:
    model, inputs = model_and_inputs("ZImageTransformer2DModel")
    alone = {name: value[:1] for name, value in inputs.items()}
    with Probe(model) as probe, torch.no_grad():
        together = probe.measure(lambda: model(**inputs))
        by_itself = probe.measure(lambda: model(**alone))
    # filled up tokens take part in attention, but to no more of them than alone
    np.testing.assert_allclose(together.image[0], by_itself.image[0], atol=1e-6)
    np.testing.assert_allclose(together.text[0], by_itself.text[0], atol=1e-6)


def test_a_reference_image_is_not_the_image_that_is_made() -> None:
    model, inputs = flux_and_inputs("flux")
    with_reference = dict(inputs)
    ids = torch.zeros(16, 3)
    ids[10:, 0] = 1  # Flux Kontext's
    with_reference["img_ids"] = ids
    with Probe(model) as probe, torch.no_grad():
        by_ids = probe.measure(lambda: model(**with_reference))
        by_number = probe.measure(lambda: model(**with_reference), reference_tokens=6)
    np.testing.assert_allclose(by_ids.image, by_number.image, rtol=1e-6)
    np.testing.assert_array_equal(by_ids.image_last, by_number.image_last)


def test_a_callers_mask_counts_beside_the_calls_own() -> None:
    model, inputs = model_and_inputs("QwenImageTransformer2DModel")
    mask = inputs["encoder_hidden_states_mask"].bool()
    fewer = mask & (torch.arange(mask.shape[1]) < 3)
    with Probe(model) as probe, torch.no_grad():
        own = probe.measure(lambda: model(**inputs))
        both = probe.measure(lambda: model(**inputs), text_mask=fewer)
        neither = probe.measure(lambda: model(**inputs), text_mask=torch.ones_like(mask))
    np.testing.assert_array_equal(neither.text, own.text)
    assert (both.text != own.text).all()
    np.testing.assert_array_equal(both.image, own.image)


def test_an_image_of_other_tokens_than_its_call_says_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, inputs = model_and_inputs("QwenImageTransformer2DModel")

    def wrong(_model: Any, _call: Any, row: Layout) -> Layout:
        return replace(row, image=torch.ones(2, 7, dtype=torch.bool))

    monkeypatch.setitem(layouts.LAYOUTS, "by shapes", wrong)
    with (
        Probe(model) as probe,
        torch.no_grad(),
        pytest.raises(LokrWeightingError, match="which of them are padding cannot be told"),
    ):
        probe.measure(lambda: model(**inputs))


def test_z_images_omni_mode_is_refused() -> None:
    model, inputs = model_and_inputs("ZImageTransformer2DModel")
    inputs["x"] = [[image] for image in inputs["x"]]
    with (
        Probe(model) as probe,
        torch.no_grad(),
        pytest.raises(LokrWeightingError, match="omni mode"),
    ):
        probe.measure(lambda: model(**inputs))


def test_a_row_that_indexes_into_one_tensor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "REGISTERED", [])
    model, inputs = model_and_inputs("WanTransformer3DModel")
    register_family(
        Family(
            "wrong",
            ("WanTransformer3DModel",),
            (BlockList("blocks", (), Streams(text_in=None, image_out=0)),),
        )
    )
    with (
        Probe(model) as probe,
        torch.no_grad(),
        pytest.raises(LokrWeightingError, match="gives one tensor, but its family's row says a"),
    ):
        probe.measure(lambda: model(**inputs))


def test_a_call_without_the_text_that_its_row_names_is_refused() -> None:
    model, inputs = model_and_inputs("Krea2Transformer2DModel")
    del inputs["encoder_hidden_states"]
    with (
        Probe(model) as probe,
        torch.no_grad(),
        pytest.raises(LokrWeightingError, match="krea2 is called without 'encoder_hidden_states'"),
    ):
        probe.measure(lambda: model(**inputs))


def test_a_model_whose_own_call_is_not_seen_is_refused() -> None:
    model, inputs = model_and_inputs("QwenImageTransformer2DModel")
    with (
        Probe(model) as probe,
        torch.no_grad(),
        pytest.raises(LokrWeightingError, match=r"call model\(\.\.\.\), not model\.forward"),
    ):
        probe.measure(lambda: model.forward(**inputs))


def test_a_registered_family_may_lay_out_its_tokens_in_its_own_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table, "REGISTERED", [])
    monkeypatch.setattr(layouts, "LAYOUTS", dict(layouts.LAYOUTS))
    model, inputs = model_and_inputs("Krea2Transformer2DModel")
    with Probe(model) as probe, torch.no_grad():
        expected = probe.measure(lambda: model(**inputs))
    own = replace(family_of(model), name="own", text_argument=None, text_mask=None, layout="own")
    register_family(own)
    with pytest.raises(LokrWeightingError, match="own: no layout is called 'own'"):
        Probe(model)
    mask = inputs["encoder_attention_mask"]
    register_layout("own", lambda *_: Layout(text=mask, text_tokens=mask.shape[1]))
    with Probe(model) as probe, torch.no_grad():
        found = probe.measure(lambda: model(**inputs))
    np.testing.assert_array_equal(found.text, expected.text)
