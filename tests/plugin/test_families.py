from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lokr_weighting_simpletuner.families import (
    known_families,
    markdown_table,
    refused_families,
    support,
)

from tests.plugin.own_classes import EMPTY
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


@pytest.mark.parametrize("kind", ["sd3", "sd3.5-medium", "flux", "auraflow", "longcat_image"])
def test_simpletuners_transformers_are_run_otherwise_as_diffusers_are(
    kind: str, compared: dict[str, Any]
) -> None:
    """Those too that never call their blocks: SD3's and LongCat's hand them to functions."""
    whole = compared.get(kind) or compared["others"][kind]
    assert len(whole["ablated"]) == (5 if kind.startswith("sd3") else 10)
    for each in whole["ablated"]:
        assert each["apart"] < 1e-4, each
        assert (each["moved"] > 1e-3) == (each["strategy"] is not None), each


OTHERS = (
    "qwen_image",
    "flux2",
    "chroma",
    "z_image",
    "wan",
    "lumina2",
    "pixart",
    "krea2",
    "ernie",
    "longcat_image",
    "ltxvideo",
    "omnigen",
    "sana",
    "sanavideo",
)


def test_every_measured_family_is_held_against_something(compared: dict[str, Any]) -> None:
    assert set(compared["others"]) == set(OTHERS)
    other_names = {"pixart_sigma"}
    unets = {"sdxl", "sd1x", "kolors"}
    assert known_families().keys() == {*OTHERS, *other_names, *unets, "sd3", "flux", "auraflow"}


@pytest.mark.parametrize("name", OTHERS)
def test_simpletuners_transformers_measure_as_a_slow_reference(
    name: str, compared: dict[str, Any]
) -> None:
    found = compared["others"][name]
    assert found["library"] == "simpletuner"
    assert found["blocks"] == found["expected"]
    own, expected = np.array(found["pairs"]).T
    assert (np.isnan(own) == np.isnan(expected)).all()
    assert np.nanmax(np.abs(own - expected)) < 1e-6


@pytest.mark.parametrize("name", OTHERS)
def test_simpletuners_modules_have_the_classes_that_are_said(
    name: str, compared: dict[str, Any]
) -> None:
    others = compared["others"][name]["other classes"]
    assert [path for path in others if not path.endswith(EMPTY.get(name, ()))] == []


def test_simpletuners_unet_measures_as_diffusers_does(compared: dict[str, Any]) -> None:
    own, diffusers = compared["unet"]["own"], compared["unet"]["diffusers"]
    for key in ("image", "image_last"):
        assert np.abs(np.array(own[key]) - np.array(diffusers[key])).max() < 1e-6
        assert np.min(own[key]) > 0.01
    assert own["has_text"] == [False] * len(own["has_text"])
    assert own["linears"] == diffusers["linears"]


def test_a_registered_family_counts(rooms: dict[str, Any]) -> None:
    flux, before, after, another = rooms["registered"]
    assert (flux, after) == (None, None)
    assert "'hidream' cannot be measured (nothing tells which" in before
    assert "'sd2x' cannot be measured (SimpleTuner's own arg" in another


def test_each_of_simpletuners_families_is_measured_or_refused(rooms: dict[str, Any]) -> None:
    assert {name for name, _ in support()} == set(rooms["families"])
    assert not known_families().keys() & refused_families().keys()


def test_the_page_says_which_are_measured() -> None:
    page = (Path(__file__).parents[2] / "docs" / "simpletuner.md").read_text()
    assert markdown_table() in page


def test_the_runs_that_simpletuner_itself_ends_are_named(rooms: dict[str, Any]) -> None:
    named = {name for own in known_families().values() for name in own.broken}
    assert named == set(rooms["stopped"]) & known_families().keys()
