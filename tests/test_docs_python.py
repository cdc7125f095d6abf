"""The Python in README and docs runs as it is printed."""

import copy
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusion3Pipeline

from lokr_weighting import Plan, calibrate, make_plan, read_calibration, write_plan
from lokr_weighting.models import table
from lokr_weighting.models.table import families, pipeline_call
from tests.tiny_models import model_and_inputs

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "src" / "lokr_weighting" / "digits"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks_of(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


WITH_PYTHON = {page.relative_to(ROOT).as_posix(): len(blocks_of(page)) for page in PAGES}


def given() -> dict[str, Any]:
    """What a reader has before the first line: a small transformer and batches for it."""
    model, inputs = model_and_inputs("sd3")
    rng = torch.Generator().manual_seed(0)
    batches = [
        {
            "latents": torch.randn(4, 16, 8, 8, generator=rng),
            "prompt_embeds": torch.randn(4, 12, 64, generator=rng),
            "pooled_prompt_embeds": torch.randn(4, 64, generator=rng),
        }
    ]
    mask = torch.ones(2, 12, dtype=torch.bool)
    return {
        "transformer": model,
        "batches": batches,
        "dataloader": batches,
        "inputs": inputs,
        "mask": mask,
    }


def run(page: str, *, before: Callable[[dict[str, Any]], None] = lambda _: None) -> dict[str, Any]:
    """Run a page's blocks one after another; the names they leave."""
    names: dict[str, Any] = given()
    for number, block in enumerate(blocks_of(ROOT / page), start=1):
        before(names)
        exec(compile(block, f"{page}, block {number}", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def _own_folder_and_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(table, "REGISTERED", [*table.REGISTERED])
    monkeypatch.setattr(table, "REGISTERED_CALLS", dict(table.REGISTERED_CALLS))


def test_every_page_with_python_is_run_here() -> None:
    assert {page: count for page, count in WITH_PYTHON.items() if count} == {
        "README.md": 1,
        "docs/ablate.md": 1,
        "docs/calibration.md": 4,
        "docs/peft.md": 3,
        "docs/pipelines.md": 1,
        "docs/recipe.md": 1,
        "docs/simpletuner.md": 1,
        "docs/three-ways.md": 1,
        "docs/trainers.md": 1,
    }


@pytest.mark.parametrize("page", ["README.md", "docs/three-ways.md"])
def test_readme_and_three_ways(page: str) -> None:
    names = run(page)
    assert isinstance(names["plan"], Plan)
    assert read_calibration(Path("calibration")).records


@pytest.mark.slow
def test_ablate() -> None:
    def loaded(names: dict[str, Any]) -> None:
        names["pipeline"] = StableDiffusion3Pipeline.from_pretrained(DIGITS)

    (image,) = run("docs/ablate.md", before=loaded)["images"]
    assert image.size == (64, 64)


def test_trainers() -> None:
    def planned(names: dict[str, Any]) -> None:
        calibration = calibrate(names["transformer"], names["batches"])
        names["path"] = Path("my.plan.json")
        write_plan(names["path"], make_plan(calibration, names["transformer"], budget="uniform:4"))

    names = run("docs/trainers.md", before=planned)
    assert "default" in names["transformer"].peft_config


def test_recipe() -> None:
    names = run("docs/recipe.md")
    assert names["plan"].recipe.max_factor == 16
    assert names["config"]["algo"] == "lokr"


@pytest.mark.slow
def test_calibration() -> None:
    names = run("docs/calibration.md")
    assert len(read_calibration(Path("calibration-own")).records) == 256
    assert names["distances"].image.shape == (2, 6)
    assert "MyTransformer" in {each for family in families() for each in family.classes}


def test_peft_and_its_stock_calls_load_what_was_trained() -> None:
    fresh = given()["transformer"]
    results = []

    def plain(names: dict[str, Any]) -> None:
        """A reader loads into a model of his own; before that, what the block before has made."""
        results.append(_output(names))
        names["transformer"] = copy.deepcopy(fresh)
        if "model" in names and len(results) == 2:
            _move(names["model"])
            names["weighted"].save_pretrained(names["model"], "adapter")
            results[-1] = _output(names)

    names = run("docs/peft.md", before=plain)
    untrained, trained, by_peft = results
    names["model"] = names["transformer"]
    by_diffusers = _output(names)
    assert not torch.allclose(trained, untrained, atol=1e-4)
    torch.testing.assert_close(by_peft, trained)
    torch.testing.assert_close(by_diffusers, trained)


def _output(names: dict[str, Any]) -> torch.Tensor:
    model = names.get("model", names["transformer"]).eval()
    with torch.no_grad():
        return model(**names["inputs"], return_dict=False)[0]


def _move(model: torch.nn.Module) -> None:
    """As training would: the adapters get numbers."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))


def test_pipelines() -> None:
    run("docs/pipelines.md")
    assert pipeline_call("MyPipeline").mask == "prompt_attention_mask"


def test_simpletuner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Started by hand, without the train.py that SimpleTuner gives, it says how it is started."""
    monkeypatch.setattr(sys, "argv", ["my_family"])
    with pytest.raises(SystemExit) as ended:
        run("docs/simpletuner.md")
    assert ended.value.code == 2
    assert "simpletuner train accelerate_extra_args=" in capsys.readouterr().err
    assert table.REGISTERED[0].name == "my_family"
