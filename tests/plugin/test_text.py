from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_padding_is_where_simpletuner_itself_would_zero_it(rooms: dict[str, Any]) -> None:
    found = rooms["text"]
    assert found["t5"] == found["not zeroed"]
    assert 0 < sum(found["t5"]) < len(found["t5"])
    assert found["clip"] == found["clip tokens"]


def test_a_mask_that_simpletuner_has_is_taken(rooms: dict[str, Any]) -> None:
    assert rooms["text"]["given"] == [[True, True, False, False]]


def test_padding_that_nothing_tells_of_is_refused(rooms: dict[str, Any]) -> None:
    assert "sd3: SimpleTuner's batch has no encoder_attention_mask" in rooms["text"]["untold"]


def test_what_the_models_call_tells_needs_no_mask(rooms: dict[str, Any]) -> None:
    # nor does a text that is no stream, nor a registered family of which nothing is known
    assert rooms["text"]["left alone"] == [None] * 4


def test_reference_images_that_cannot_be_told_apart_are_refused(rooms: dict[str, Any]) -> None:
    assert "z_image: a batch has conditioning_latents, and ref" in rooms["text"]["references"]


def test_longcats_captions_are_told_from_what_fills_them_up(rooms: dict[str, Any]) -> None:
    found = rooms["longcat"]
    assert found["mask"] == found["expected"]
    assert len(found["mask"]) == found["tokens"]
