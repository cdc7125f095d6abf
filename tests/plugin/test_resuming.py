"""Checkpoints of weighted and other runs, as SimpleTuner leaves them."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lokr_weighting_simpletuner.resuming import ADAPTER, check_unweighted, resumed_from
from safetensors.torch import save_file

from lokr_weighting import LokrWeightingError


@pytest.fixture
def trainer(tmp_path: Path) -> Any:
    """A run that resumes checkpoint-2, of a weighted run."""
    folder = tmp_path / "output" / "checkpoint-2"
    folder.mkdir(parents=True)
    saved = {"lokr_weighting": json.dumps({"plan": "1234"})}
    tensors = {"lycoris_x.lokr_w1": torch.zeros(2, 2)}
    save_file(tensors, folder / "pytorch_lora_weights.safetensors", metadata=saved)
    (folder / "lycoris_config.json").write_text(json.dumps({"algo": "lokr", "factor": 2}))
    (tmp_path / "lycoris_config.json").write_text(json.dumps({"algo": "lokr", "factor": 4}))
    config = SimpleNamespace(
        output_dir=str(tmp_path / "output"),
        resume_from_checkpoint="latest",
        lycoris_config=str(tmp_path / "lycoris_config.json"),
    )
    return SimpleNamespace(config=config, checkpoint_state_latest=lambda _: folder.name)


def test_a_weighted_checkpoint_is_not_gone_on_from_unweighted(trainer: Any) -> None:
    with pytest.raises(LokrWeightingError) as caught:
        check_unweighted(trainer)
    assert "checkpoint-2: this checkpoint is of a weighted run" in str(caught.value)
    assert "set lokr_weighting to true, or lycoris_config to" in str(caught.value)


def test_with_the_checkpoints_own_configuration_it_is(trainer: Any) -> None:
    trainer.config.lycoris_config = f"{trainer.config.output_dir}/checkpoint-2/lycoris_config.json"
    check_unweighted(trainer)


def test_a_run_that_starts_anew_resumes_nothing(trainer: Any) -> None:
    trainer.config.resume_from_checkpoint = ""
    check_unweighted(trainer)
    assert resumed_from(trainer) is None


def test_a_weighted_run_goes_on_from_its_checkpoint(trainer: Any) -> None:
    checkpoint = resumed_from(trainer)
    assert checkpoint is not None
    assert checkpoint.saved == {"plan": "1234"}
    assert checkpoint.shapes == {"lycoris_x.lokr_w1": (2, 2)}


def test_a_checkpoint_without_adapter_is_not_gone_on_from(trainer: Any) -> None:
    (Path(trainer.config.output_dir) / "checkpoint-2" / ADAPTER).unlink()
    with pytest.raises(LokrWeightingError, match=r"holds no .*safetensors to go on from"):
        resumed_from(trainer)


@pytest.mark.parametrize("said", ["[]", "{", "NaN", "[" * 3000])
def test_a_header_that_says_nonsense_of_its_plan_is_refused(trainer: Any, said: str) -> None:
    file = Path(trainer.config.output_dir) / "checkpoint-2" / ADAPTER
    save_file({"x": torch.zeros(1)}, file, metadata={"lokr_weighting": said})
    with pytest.raises(LokrWeightingError, match=f"{ADAPTER}: lokr_weighting in its header"):
        resumed_from(trainer)
