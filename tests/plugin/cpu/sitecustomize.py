"""On PYTHONPATH of the runs in the tests: what keeps SimpleTuner 4.10.1 from running here.

It pins memory, which torch refuses on a CPU; and, anywhere, it makes the pipelines of some families
without arguments that they must have (`broken` in their rows).
"""

from types import ModuleType

from lokr_weighting_simpletuner.imports import after_import


def without_pinning(module: ModuleType) -> None:
    """Make pinning do nothing."""
    module.torch.Tensor.pin_memory = lambda self, *_, **__: self


def with_scheduler(module: ModuleType) -> None:
    """Give pipelines that have to load a scheduler, and have no way to, the one of the training."""
    module.ModelFoundation._load_scheduler_for_pipeline = lambda self, _kind: self.noise_schedule


def without_checker(module: ModuleType) -> None:
    """Let Stable Diffusion 1's pipeline do without a safety checker."""
    made = module.StableDiffusionPipeline.__init__
    # safety_checker, feature_extractor; image_encoder and requires_safety_checker have one already
    made.mended = len(made.__defaults__) == 2
    made.__defaults__ = (None, None, None, False)


after_import(
    {
        "simpletuner.helpers.training.collate": without_pinning,
        "simpletuner.helpers.models.common": with_scheduler,
        "simpletuner.helpers.models.sd1x.pipeline": without_checker,
    }
)
