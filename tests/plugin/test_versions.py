from types import ModuleType

import pytest
from lokr_weighting_simpletuner.versions import check_version, named, simpletuner_version

from lokr_weighting import LokrWeightingError


@pytest.mark.parametrize("version", ["4.5.2", "3.12.0", "4.7.9.dev1"])
def test_an_old_simpletuner_is_refused_by_name(version: str) -> None:
    with pytest.raises(LokrWeightingError, match=f"SimpleTuner {version} is too old .* 4.8"):
        check_version(version)


@pytest.mark.parametrize("version", ["4.8.0", "4.10.1", "5.0", "4.8rc1"])
def test_later_ones_are_not(version: str) -> None:
    check_version(version)


def test_an_unforeseen_error_names_the_version() -> None:
    def hook(_module: ModuleType) -> None:
        raise TypeError("unexpected keyword argument")

    with pytest.raises(LokrWeightingError) as caught:
        named(hook)(ModuleType("simpletuner.helpers.training.trainer"))
    assert "simpletuner.helpers.training.trainer: TypeError: unexpected" in str(caught.value)
    assert f"in SimpleTuner {simpletuner_version()}" in str(caught.value)
