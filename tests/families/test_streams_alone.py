"""Blocks of text alone and of image alone, from the real model to the plan that is read back."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lokr_weighting import Calibration, Stop, calibrate, make_plan
from lokr_weighting.plan.plan import Plan
from lokr_weighting.records.record import Record
from lokr_weighting.show.plan_tables import plan_remarks
from lokr_weighting.show.report import write_report
from lokr_weighting.studies.similarity import similarity_of
from lokr_weighting.targets.registry import LYCORIS
from tests.families.tiny import model_and_inputs

WHOLE = "which counts with the whole weight."
SAID = {
    "Lumina2Transformer2DModel": [
        f"Blocks of context_refiner have text alone, {WHOLE}",
        f"Blocks of noise_refiner have the image alone, {WHOLE}",
    ],
    "ZImageTransformer2DModel": [
        f"Blocks of context_refiner have text alone, {WHOLE}",
        f"Blocks of noise_refiner have the image alone, {WHOLE}",
    ],
    "Kandinsky5Transformer3DModel": [
        f"Blocks of text_transformer_blocks have text alone, {WHOLE}",
        f"Blocks of visual_transformer_blocks have the image alone, {WHOLE}",
    ],
    "WanTransformer3DModel": [
        "No block hands a text stream on: the image alone counts, with the whole weight."
    ],
}
"""A class -> what its plan's table says of its streams."""


def measured(name: str, *, similarity: bool = False) -> tuple[torch.nn.Module, Calibration]:
    """A small model of that class, and a calibration of two batches that take turns."""
    model, inputs = model_and_inputs(name)

    def forward(model: torch.nn.Module, _batch: torch.Tensor, _times: torch.Tensor) -> None:
        model(**inputs)

    batches = [torch.zeros(2)]
    stop = Stop(samples=20)
    return model, calibrate(model, batches, forward, stop=stop, similarity=similarity)


@pytest.mark.parametrize("name", SAID)
def test_a_plan_is_made_of_what_each_block_has_and_read_back_exactly(name: str) -> None:
    model, calibration = measured(name)
    texts = [block for block, path in enumerate(calibration.blocks) if path.startswith(("t", "c"))]
    for record in calibration.records:
        image = [block for block, number in enumerate(record.hidden_states) if number is None]
        assert image == texts
        assert Record.model_validate_json(record.line) == record
    plan = make_plan(calibration, model)
    assert [block.image is None for block in plan.blocks] == [
        block in texts for block in range(len(plan.blocks))
    ]
    assert min(block.contribution for block in plan.blocks) == 0
    assert max(block.contribution for block in plan.blocks) == 1
    assert [line for line in plan_remarks(plan) if "alone" in line] == SAID[name]
    for recipe in (None, plan.recipe.model_copy(update={"name": "streams"})):
        read_back = LYCORIS.prepare(make_plan(calibration, model, recipe), model, None).read_back
        assert read_back is not None
        assert f"{len(plan.linears)} modules as planned" in read_back


def test_audio_is_said_not_to_be_measured_and_its_linears_are_what_works_on_it() -> None:
    model, calibration = measured("LTX2VideoTransformer3DModel")
    plan = make_plan(calibration, model)
    audio = [linear.name for linear in plan.linears if linear.unmeasured == "audio"]
    said = [line for line in plan_remarks(plan) if "not measured" in line]
    assert said == [
        f"Audio is not measured: the {len(audio)} Linears that work on it get the factor of "
        "their block, which goes by its other streams."
    ]
    _, inputs = model_and_inputs("LTX2VideoTransformer3DModel")
    last = calibration.blocks[-1]
    with torch.no_grad():
        # in one block audio speaks to video here alone
        for parameter in model.get_submodule(f"{last}.audio_to_video_attn.to_out").parameters():
            parameter.zero_()
        before = model(**inputs, return_dict=False)
        for name in audio:
            if name.startswith(f"{last}."):
                model.get_parameter(f"{name}.weight").mul_(2)
        after = model(**inputs, return_dict=False)
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])
    assert Plan.model_validate(plan.model_dump(mode="json")) == plan
    model, calibration = measured("WanTransformer3DModel")
    wan = make_plan(calibration, model)
    assert not any("unmeasured" in linear for linear in wan.model_dump(mode="json")["linears"])
    assert not any("not measured" in line for line in plan_remarks(wan))


@pytest.mark.slow
def test_a_report_and_the_similarity_show_what_there_is(tmp_path: Path) -> None:
    model, calibration = measured("Lumina2Transformer2DModel", similarity=True)
    similarity = similarity_of(calibration)
    for stream, missing in (("image", "context_refiner"), ("text", "noise_refiner")):
        without = np.isnan(getattr(similarity, stream)).all(axis=0).tolist()
        assert without == [name.startswith(missing) for name in calibration.blocks]
    plan = make_plan(calibration, model)
    files = write_report(tmp_path / "report.html", calibration, plan, model=model)
    page = files[0].read_text()
    assert "<td>nan" not in page
    for line in SAID["Lumina2Transformer2DModel"]:
        assert line in page
    assert {file.name for file in files} >= {"streams.png", "combined.png", "similarity.png"}
