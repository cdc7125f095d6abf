from typing import Any

import numpy as np
import pytest

from tests.plugin.runs import told_by

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """SimpleTuner's own transformers beside diffusers', with the same weights and inputs."""
    return told_by("own_transformers.py", tmp_path_factory.mktemp("own"))


@pytest.mark.parametrize("kind", ["sd3", "sd3.5-medium", "flux", "auraflow"])
def test_simpletuners_transformers_measure_as_diffusers_do(
    kind: str, compared: dict[str, Any]
) -> None:
    own, diffusers = compared[kind]["own"], compared[kind]["diffusers"]
    for key in ("image", "text", "image_last"):
        assert np.abs(np.array(own[key]) - np.array(diffusers[key])).max() < 1e-6
        assert np.min(own[key]) > 0.01
    assert own["has_text"] == diffusers["has_text"]
    assert sorted(own["linears"]) == sorted(diffusers["linears"])


def test_a_registered_family_counts(rooms: dict[str, Any]) -> None:
    flux, before, after, another = rooms["registered"]
    assert (flux, before, after, another) == (True, False, True, False)
