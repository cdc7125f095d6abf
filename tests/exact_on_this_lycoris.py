"""Run by test_lycoris_versions in a fresh process per LyCORIS version: plan, write, read back."""

import json
import sys
from importlib.metadata import version

from lokr_weighting import load_reference, make_plan
from lokr_weighting.models.blocks import block_names
from lokr_weighting.models.known import empty_transformer
from lokr_weighting.targets.lycoris import LycorisConfig, config_of, read_config
from lokr_weighting.targets.lycoris.keys import keys_without_effect
from lokr_weighting.targets.lycoris.readback import read_back
from lokr_weighting.targets.tensors import differences_from_plan
from tests.conftest import PUBLISHED, random_heatmaps
from tests.targets.test_convolutions import sana

ARCHITECTURES = ("sd3-medium", "sd3.5-medium", "flux.1-dev", "auraflow-v0.3")


def main() -> None:
    """Print what was found as JSON."""
    found: dict[str, object] = {"version": version("lycoris-lora")}
    large = empty_transformer("sd3.5-large")
    plans = {"sd3.5-large": (large, make_plan(load_reference("sd3.5-large"), large))}
    for name in ARCHITECTURES:
        model = empty_transformer(name)
        heatmaps = random_heatmaps(len(block_names(model)))
        plans[name] = (model, make_plan(heatmaps, model, budget="uniform:6"))
    for name, (model, plan) in plans.items():
        readback = read_back(model, config_of(plan))
        found[name] = readback.exact and not differences_from_plan(plan, readback.made)
    model = sana()
    plan = make_plan(random_heatmaps(2, without_text=0), model, budget="uniform:3")
    differing = differences_from_plan(plan, read_back(model, config_of(plan)).made)
    found["not as planned"] = sorted({each.split()[0].rpartition(".")[2] for each in differing})
    published = read_back(large, read_config(PUBLISHED / "sd35_large_peft_config.json"))
    found["published"] = [published.counts["exact"], published.made_parameters]
    doras = {"algo": "lokr", "dora_wd": True, "wd_on_output": True, "full_matrx": True}
    unread = keys_without_effect(LycorisConfig.model_validate(doras), in_simpletuner=False)
    found["unread"] = list(unread)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
