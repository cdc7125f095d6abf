"""On PYTHONPATH of the runs in the tests: SimpleTuner pins memory, which torch refuses on a CPU."""

from types import ModuleType

from lokr_weighting_simpletuner.imports import after_import


def without_pinning(module: ModuleType) -> None:
    """Make pinning do nothing."""
    module.torch.Tensor.pin_memory = lambda self, *_, **__: self


after_import({"simpletuner.helpers.training.collate": without_pinning})
