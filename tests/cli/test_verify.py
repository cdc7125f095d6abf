import json
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Run

Cli = Callable[..., Run]


def test_verify_of_the_published_file_fails_and_says_why(cli: Cli, published_config: Path) -> None:
    run = cli("verify", published_config, "--model", "sd3.5-large")
    assert run.code == 1
    assert "1,123,057,848 parameters are made, 765,636,738 asked for" in run.out
    assert "... and 331 more; --all shows them" in run.out
    data = cli("verify", published_config, "--model", "sd3.5-large", "--json").json
    assert data["counts"] == {"exact": 178, "wrong": 351, "missing": 0, "unasked": 0}
    assert len(data["modules"]) == 351


FLUX = {
    "algo": "lokr",
    "multiplier": 1.0,
    "linear_dim": 10000,
    "linear_alpha": 1,
    "full_matrix": True,
    "factor": 16,
    "apply_preset": {"target_module": ["FluxAttention"]},
}


def test_verify_says_whose_classes_count_and_what_the_others_would_make(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(FLUX))
    run = cli("verify", "config.json", "--model", "flux.1-dev")
    assert run.code == 1
    assert "Classes: those of SimpleTuner 4.10.1 (--trainer)." in run.out
    assert "(--trainer diffusers) 266 modules are adapted" in run.out
    data = cli("verify", "config.json", "--model", "flux.1-dev", "--json").json
    assert (data["trainer"], data["elsewhere"]["modules"]) == ("simpletuner", 266)
    run = cli("verify", "config.json", "--model", "flux.1-dev", "--trainer", "diffusers")
    assert run.code == 0
    assert "Exact: all 266 modules" in run.out
    assert "(--trainer simpletuner) 0 modules are adapted" in run.out
    shown = cli("inspect", "config.json", "--model", "flux.1-dev", "--trainer", "diffusers")
    assert "(--trainer simpletuner) 0 modules are adapted" in shown.out


def test_verify_lists_keys_without_effect_and_what_simpletuner_minds(
    cli: Cli, tmp_path: Path
) -> None:
    preset = {"target_module": ["FeedForward"], "module_algo_map": {"FeedForward": {"factr": 2}}}
    config = FLUX | {"multiplier": 0.5, "full_matrx": True, "apply_preset": preset}
    (tmp_path / "config.json").write_text(json.dumps(config))
    run = cli("verify", "config.json", "--model", "digits")
    assert run.code == 1
    for said in (
        "did you mean full_matrix?",
        "factr in 1 entry",
        "cuts 0.5 to 0; nothing would be trained",
        "keys without effect: 2; keys that SimpleTuner minds: 1",
    ):
        assert said in run.out
    data = cli("verify", "config.json", "--model", "digits", "--json").json
    assert not data["exact"]
    assert sorted(data["unread"]) == ["factr in 1 entry", "full_matrx"]
    assert list(data["changed"]) == ["multiplier"]
