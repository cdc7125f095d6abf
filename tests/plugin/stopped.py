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
        scheduler = parameters.get("scheduler")
        wanted = scheduler is not None and scheduler.default is scheduler.empty
        special = getattr(model, "requires_special_scheduler_setup", None)
        without = special is not None and special(None) and _asks_no_one(model)
        # what `cpu/sitecustomize.py` gives it here
        mended = pipeline is not None and getattr(pipeline.__init__, "mended", False)
        if (wanted and without) or mended:
            found.append(name)
    return found


def _asks_no_one(model: Any) -> bool:
    """Whether a family leaves it to the base class, which has none, to load its scheduler."""
    own = model._load_scheduler_for_pipeline
    return own is ModelFoundation._load_scheduler_for_pipeline
