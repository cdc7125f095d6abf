import torch

from lokr_weighting.models.blocks import block_linears, block_names
from lokr_weighting.models.known import empty_transformer
from lokr_weighting.models.table import checkpoints
from tests.known_models import known_transformer


def test_sd35_large_has_529_linears_in_38_blocks() -> None:
    transformer = empty_transformer("sd3.5-large")
    assert len(block_names(transformer)) == 38
    assert len(block_linears(transformer)) == 529


def test_every_linear_and_convolution_of_every_block_is_found_once() -> None:
    for name in checkpoints():
        transformer = known_transformer(name)
        prefixes = tuple(f"{block}." for block in block_names(transformer))
        expected = [
            path
            for path, module in transformer.named_modules()
            if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)) and path.startswith(prefixes)
        ]
        assert sorted(linear.name for linear in block_linears(transformer)) == sorted(expected)
