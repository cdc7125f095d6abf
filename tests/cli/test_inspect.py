from collections.abc import Callable

from tests.conftest import Run

Cli = Callable[..., Run]


def test_inspect_shows_the_cost_per_block_and_in_all(cli: Cli) -> None:
    cli("plan", "--reference", "sd3.5-large")
    data = cli("inspect", "peft_config.json", "--model", "sd3.5-large", "--json").json
    assert data["parameters"] == sum(row["parameters"] for row in data["blocks"]) == 765636738
    assert data["blocks"][0]["parameters"] == 177438758
    shown = cli("inspect", "peft_config.json", "--model", "sd3.5-large")
    assert "transformer_blocks.37" in shown.out
    assert "765,636,738 trainable parameters" in shown.out
