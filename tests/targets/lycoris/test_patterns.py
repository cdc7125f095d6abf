"""Regular expressions of a configuration: compiled, and run with a limit."""

import pytest

from lokr_weighting import LokrWeightingError
from lokr_weighting.targets.lycoris import Preset, patterns
from lokr_weighting.targets.lycoris.patterns import check_patterns

NAMES = [f"transformer_blocks.{block}.attn.to_q" for block in range(20)]


@pytest.mark.parametrize("pattern", ["transformer_blocks.(", "*ff*", "a{99999999999999}", "(" * 99])
@pytest.mark.parametrize("key", ["target_name", "exclude_name", "name_algo_map"])
def test_what_does_not_compile_is_refused_by_key(pattern: str, key: str) -> None:
    preset = Preset.model_validate({key: {pattern: {}} if key == "name_algo_map" else [pattern]})
    with pytest.raises(
        LokrWeightingError, match=f"apply_preset.{key}: .* is no regular expression"
    ):
        check_patterns(preset, NAMES)


@pytest.mark.parametrize("pattern", ["([a-z._0-9]+)+!", ".*.*.*.*.*.*.*.*.*!", r"(\w+|[.])*!"])
def test_what_never_ends_is_stopped(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.5)
    preset = Preset(target_name=["ordinary.*", pattern, ".*after"])
    names = [f"{name}.{'inside.' * 30}" for name in NAMES]
    with pytest.raises(LokrWeightingError, match="takes more than") as error:
        check_patterns(preset, names)
    assert repr(pattern) in str(error.value)


def test_ordinary_patterns_pass() -> None:
    many = [rf"transformer_blocks\.{block}\.(attn|ff).*" for block in range(40)]
    check_patterns(Preset(target_name=many, name_algo_map={"proj_out": {}}), NAMES * 20)
    check_patterns(Preset(target_name=["[broken", "*a*a*a*a*b"], use_fnmatch=True), ["a" * 200])
