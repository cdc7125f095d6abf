"""The families whose runs SimpleTuner itself ends, before anything is measured."""

import inspect
from typing import Any

from simpletuner.helpers.models.common import ModelFoundation, PipelineTypes
from simpletuner.helpers.models.registry import ModelRegistry


def stopped() -> list[str]:
    """The families whose pipelines SimpleTuner makes without an argument that they must have."""
    found = []
    for name in ModelRegistry.model_families():
        model = ModelRegistry.get(name)
        pipeline = getattr(model, "PIPELINE_CLASSES", {}).get(PipelineTypes.TEXT2IMG)
        parameters = inspect.signature(pipeline.__init__).parameters if pipeline else {}
        wanted = {each for each, own in parameters.items() if own.default is own.empty}
        special = getattr(model, "requires_special_scheduler_setup", None)
        without = {"safety_checker"}
        if special is not None and special(None) and _asks_no_one(model):
            without.add("scheduler")
        if wanted & without:
            found.append(name)
    return found


def _asks_no_one(model: Any) -> bool:
    """Whether a family leaves it to the base class, which has none, to load its scheduler."""
    own = model._load_scheduler_for_pipeline
    return own is ModelFoundation._load_scheduler_for_pipeline
