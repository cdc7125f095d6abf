"""Small random models that pass their blocks' arguments by place, of four blocks a list."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from lokr_weighting.models.table import family_files
from tests.families.tiny import model_and_inputs


@dataclass(frozen=True)
class Case:
    """A class of the table, and how many blocks it is made with."""

    class_name: str
    config: dict[str, int]

    @property
    def lists(self) -> list[str]:
        """The names of its block lists."""
        (file,) = (file for file in family_files() if self.class_name in file.classes)
        return [blocks.path for blocks in file.lists]

    def model_and_inputs(self) -> tuple[nn.Module, dict[str, Any]]:
        """The model, and a batch of two for its forward."""
        return model_and_inputs(self.class_name, **self.config)


CASES = {
    "wan": Case("WanTransformer3DModel", {"num_layers": 4}),
    "sana": Case("SanaTransformer2DModel", {"num_layers": 4}),
    "hunyuan_video": Case(
        "HunyuanVideoTransformer3DModel", {"num_layers": 4, "num_single_layers": 4}
    ),
    "cogview4": Case("CogView4Transformer2DModel", {"num_layers": 4}),
    "lumina2": Case("Lumina2Transformer2DModel", {"num_layers": 4, "num_refiner_layers": 2}),
    "z_image": Case("ZImageTransformer2DModel", {"n_layers": 4, "n_refiner_layers": 2}),
}
