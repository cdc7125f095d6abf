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
