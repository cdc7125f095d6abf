from typing import Any

import pytest

from lokr_weighting import LokrWeightingError
from lokr_weighting.models.experts import Expert, chosen_expert, experts_of

ONE: dict[str, Any] = {"_class_name": "WanPipeline", "transformer": ["diffusers", "Wan"]}
TWO = {**ONE, "transformer_2": ["diffusers", "Wan"], "boundary_ratio": 0.875}
HIGH, LOW = Expert("transformer", 0.875, 1.0), Expert("transformer_2", 0.0, 0.875)


def test_the_first_transformer_has_the_timesteps_above_the_boundary() -> None:
    assert experts_of(TWO, "here") == (HIGH, LOW)
    assert experts_of({**ONE, "transformer_2": [None, None], "boundary_ratio": None}, "here") == ()
    assert chosen_expert(TWO, "transformer_2", "here") == LOW
    assert chosen_expert(ONE, None, "here") is chosen_expert(ONE, "transformer", "here") is None


@pytest.mark.parametrize(
    ("index", "choice", "message"),
    [
        (
            TWO,
            None,
            r"^here: this WanPipeline has two transformers, each with blocks and a plan of its "
            r"own: transformer for timesteps 0.875 to 1 and transformer_2 for timesteps 0 to "
            r"0.875; say which is meant with --transformer transformer or transformer_2$",
        ),
        (ONE, "transformer_2", "this WanPipeline has one transformer; leave --transformer out"),
        (
            {**TWO, "boundary_ratio": None},
            "transformer",
            "boundary_ratio = None: a pipeline of two",
        ),
        ({**TWO, "boundary_ratio": 7}, "transformer", "boundary_ratio = 7: a pipeline of two"),
        ({**ONE, "boundary_ratio": 0.9}, None, "needs transformer and transformer_2"),
    ],
)
def test_what_is_not_said_or_not_there_is_refused(
    index: dict[str, Any], choice: str | None, message: str
) -> None:
    with pytest.raises(LokrWeightingError, match=message):
        chosen_expert(index, choice, "here")
