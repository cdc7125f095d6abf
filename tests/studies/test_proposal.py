"""Rows proposed from watching small random models, against the table's own."""

import pytest
import torch
from torch import Tensor, nn

from lokr_weighting import LokrWeightingError
from lokr_weighting.models import table
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.models.table import family_of
from lokr_weighting.studies.example_inputs import small_model
from lokr_weighting.studies.proposal import propose, propose_for
from tests.studies.called_by_place import CASES


@pytest.mark.parametrize(
    "model",
    [
        *("sd3-medium", "flux.1-dev", "flux.2-klein-4b", "qwen-image", "wan2.1-1.3b"),
        *("ltx-video", "pixart-sigma", "cogview4-6b", "hunyuan-video"),
        pytest.param("auraflow-v0.3", marks=pytest.mark.slow),
    ],
)
def test_a_proposed_row_says_of_the_streams_what_the_table_says(model: str) -> None:
    proposal = propose_for(model)
    row = family_of(load_skeleton(model))
    assert proposal.family.classes[0] in row.classes
    proposed = {each.path: each.streams for each in proposal.family.lists}
    assert {each.path: proposed.pop(each.path) for each in row.lists} == {
        each.path: each.streams for each in row.lists
    }
    # refiners inside an embedder are the text's alone, and may be left out
    assert all(streams.image_in is None for streams in proposed.values())


def test_what_a_row_cannot_say_is_a_remark() -> None:
    proposal = propose(*CASES["lumina2"].model_and_inputs())
    lists = {each.path: each for each in proposal.family.lists}
    assert lists["noise_refiner"].streams.text_in is None
    assert lists["layers"].streams.joined == "text first"
    assert lists["layers"].base == ("feed_forward*", "norm1*")
    assert lists["context_refiner"].streams.image_in is None
    assert [each.partition(":")[0] for each in proposal.remarks] == [
        "no block with two streams runs before the joined ones"
    ]


def test_its_python_registers_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "REGISTERED", [])
    proposal = propose(*CASES["wan"].model_and_inputs())
    exec(proposal.python, {})
    assert [proposal.family] == table.REGISTERED


def test_where_no_example_can_be_made_the_forwards_arguments_are_named() -> None:
    with pytest.raises(LokrWeightingError, match=r"no example .* needs .*input_img_latents"):
        propose_for("OmniGenTransformer2DModel")


def test_a_model_without_blocks_in_a_list_is_refused() -> None:
    model, inputs = CASES["sana"].model_and_inputs()
    model.add_module("transformer_blocks", nn.ModuleList())
    with pytest.raises(LokrWeightingError, match="no list of modules"):
        propose(model, inputs)


class _Constant(nn.Module):
    """Blocks whose one stream depends on neither input."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(2)])

    def forward(self, hidden_states: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        del hidden_states, encoder_hidden_states
        tokens = torch.ones(1, 5, 8)
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens


def test_blocks_of_neither_image_nor_text_make_no_row() -> None:
    inputs = {
        "hidden_states": torch.randn(1, 4, 8),
        "encoder_hidden_states": torch.randn(1, 3, 8),
    }
    with pytest.raises(
        LokrWeightingError, match="_Constant: no row can be proposed: layers: holds neither image"
    ):
        propose(_Constant(), inputs)


def test_a_class_that_diffusers_lacks_has_no_example() -> None:
    with pytest.raises(LokrWeightingError, match=r"diffusers .* has no model NoSuchModel"):
        small_model({"_class_name": "NoSuchModel"})
