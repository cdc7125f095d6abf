import json
from pathlib import Path

import pytest

from lokr_weighting import LokrWeightingError
from lokr_weighting.models.sizes import Sizes, read_sizes


def folder(root: Path, transformer: object, vae: object) -> Path:
    for name, config in (("transformer", transformer), ("vae", vae)):
        (root / name).mkdir()
        (root / name / "config.json").write_text(json.dumps(config))
    return root


def test_the_configurations_say_the_sizes(tmp_path: Path) -> None:
    vae = {"block_out_channels": [8, 8, 8, 8]}
    assert read_sizes(folder(tmp_path, {"sample_size": 64}, vae)) == Sizes(512, 16)


def test_a_model_that_does_not_say_is_made_for_1024_pixels(tmp_path: Path) -> None:
    vae = {"block_out_channels": [8, 8, 8, 8]}
    assert read_sizes(folder(tmp_path, {}, vae)).resolution == 1024


@pytest.mark.parametrize(
    ("vae", "scale"),
    [
        ({"scale_factor_spatial": 16, "temperal_downsample": [False, True, True]}, 16),
        ({"temperal_downsample": [False, True, True]}, 8),
        ({"encoder_block_out_channels": [128, 256, 512, 512, 1024, 1024]}, 32),
        ({"spatial_compression_ratio": 8, "block_out_channels": [128, 256, 512]}, 8),
        (
            {
                "spatio_temporal_scaling": [True, True, True, False],
                "patch_size": 4,
                "block_out_channels": [128, 256, 512, 512],
            },
            32,
        ),
    ],
)
def test_every_vae_says_its_scale_in_its_own_way(
    tmp_path: Path, vae: dict[str, object], scale: int
) -> None:
    made = folder(tmp_path, {}, vae)
    assert read_sizes(made, patch=1) == Sizes(128 * scale, scale)
    assert read_sizes(made, otherwise=640) == Sizes(640, 2 * scale)


@pytest.mark.parametrize(
    ("transformer", "vae", "says"),
    [
        (
            {"sample_size": 10**7},
            {"block_out_channels": [8]},
            "json: sample_size = 10000000",
        ),
        ({"sample_size": "big"}, {"block_out_channels": [8]}, "sample_size = 'big'"),
        ({}, {}, "vae/config.json: key 'block_out_channels' is missing"),
        ({}, {"block_out_channels": 4}, "block_out_channels = 4"),
        ({}, {"block_out_channels": [1] * 1000}, "block_out_channels"),
    ],
)
def test_a_configuration_without_sense_is_refused_by_file_and_key(
    tmp_path: Path, transformer: object, vae: object, says: str
) -> None:
    with pytest.raises(LokrWeightingError) as error:
        read_sizes(folder(tmp_path, transformer, vae))
    assert says in str(error.value)
