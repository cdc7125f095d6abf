from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from lokr_weighting import (
    LokrWeightingError,
    PipelineCall,
    register_family,
    register_pipeline_call,
)
from lokr_weighting.files import checked
from lokr_weighting.models import table
from lokr_weighting.models.blocks import block_names
from lokr_weighting.models.family import BlockList, Family, Streams
from lokr_weighting.models.known import empty_transformer
from lokr_weighting.models.skeleton import skeleton_of
from lokr_weighting.models.table import (
    FamilyFile,
    checkpoints,
    family_files,
    family_of,
    pipeline_call,
)


def test_a_model_of_no_known_family_is_answered_with_its_module_lists() -> None:
    from diffusers import DiTTransformer2DModel

    with torch.device("meta"):
        model = DiTTransformer2DModel(num_layers=2, num_attention_heads=2, attention_head_dim=8)
    with pytest.raises(
        LokrWeightingError, match=r"transformer_blocks \(2 x BasicTransformerBlock\)"
    ):
        block_names(model)


class MutableModuleList(nn.ModuleList):
    """As SimpleTuner names its own."""


@pytest.mark.parametrize("kinds", [(), (nn.ModuleList,), (nn.ModuleList, MutableModuleList)])
def test_the_row_that_is_written_for_a_model_is_valid(
    kinds: tuple[type[nn.ModuleList], ...],
) -> None:
    model = nn.Module()
    for number, kind in enumerate(kinds):
        model.add_module(f"blocks{number}", kind([nn.Linear(2, 2)]))
    with pytest.raises(LokrWeightingError) as raised:
        block_names(model)
    row = str(raised.value).partition("lokr_weighting.register_family(")[2].removesuffix(")")
    names = {"Family": Family, "BlockList": BlockList, "streams": Streams()}
    family = eval(row, names)
    assert family.classes == ("Module",)
    assert [blocks.path for blocks in family.lists] == [f"blocks{n}" for n in range(len(kinds))]


def test_every_familys_file_is_read_and_its_rows_are_of_the_classes_own_libraries() -> None:
    for file in family_files():
        *own, everywhere = file.rows
        assert everywhere.library is None
        assert len(own) == (file.simpletuner is not None)
        for row in own:
            assert row.library == "simpletuner"
            assert [blocks.path for blocks in row.lists] == [x.path for x in everywhere.lists]
    assert {"sd3.5-large", "flux.1-dev", "auraflow-v0.3"} <= set(checkpoints())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clases": []}, r"mine\.json: unknown key 'clases'"),
        ({"lists": [{"path": "blocks", "base": [], "stream": {}}]}, r"lists\.0\.stream"),
        ({"lists": [{"path": "b", "base": [], "streams": {"joined": "both"}}]}, "joined = 'both'"),
        ({"pipelines": {"P": {"encode": {}}}}, r"'pipelines\.P\.returned' is missing"),
    ],
)
def test_a_fault_in_a_familys_file_is_named(change: dict[str, Any], message: str) -> None:
    data = {"name": "mine", "classes": ["Mine"], "lists": []} | change
    with pytest.raises(LokrWeightingError, match=message):
        checked(FamilyFile, data, "mine.json")


def test_simpletuners_classes_of_the_same_name_are_known_without_the_plugin() -> None:
    flux = skeleton_of(empty_transformer("flux.1-dev"))
    own = replace(flux, library="simpletuner")
    assert family_of(flux).lists[1].streams.joined is None
    assert family_of(own).lists[1].streams.joined == "text first"
    assert family_of(own).library == "simpletuner"


def test_a_registered_family_goes_before_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "REGISTERED", [])
    flux = skeleton_of(empty_transformer("flux.1-dev"))
    mine = Family("mine", ("FluxTransformer2DModel",), (BlockList("transformer_blocks", ()),))
    register_family(mine)
    assert family_of(flux) is mine
    assert len(block_names(flux)) == 19


def test_a_pipeline_that_is_not_known_is_answered_with_those_that_are() -> None:
    assert pipeline_call("FluxPipeline").packing == "patches"
    with pytest.raises(
        LokrWeightingError, match=r"\(AuraFlowPipeline, ChromaPipeline, .*register_"
    ):
        pipeline_call("OtherPipeline")


def test_a_registered_pipeline_call_goes_before_the_tables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table, "REGISTERED_CALLS", {})
    mine = PipelineCall(("prompt_embeds",))
    for name in ("OtherPipeline", "FluxPipeline"):
        register_pipeline_call(name, mine)
        assert pipeline_call(name) is mine
