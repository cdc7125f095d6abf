from collections.abc import Callable

from tests.conftest import Run

Cli = Callable[..., Run]


def test_the_table_and_its_json_say_the_same(cli: Cli) -> None:
    table, data = cli("families"), cli("families", "--json").json
    assert (table.code, table.err) == (0, "")
    sd3 = next(row for row in data if row["family"] == "sd3")
    assert sd3["flag"] == "sd3"
    assert sd3["generate"] == ["StableDiffusion3Pipeline"]
    assert "sd3.5-large" in sd3["checkpoints"]
    assert all(row["family"] in table.out for row in data)


def test_a_proposed_row_is_printed_and_asks_for_a_check(cli: Cli) -> None:
    run = cli("families", "--propose", "PixArtTransformer2DModel")
    assert run.code == 0
    assert "register_family(Family('pixart', ('PixArtTransformer2DModel',)" in run.out
    assert "a person must check it" in run.out
    data = cli("families", "--propose", "PixArtTransformer2DModel", "--json").json
    assert data["family"]["lists"][0]["path"] == "transformer_blocks"
    assert data["python"] in run.out


def test_a_model_that_is_not_there_is_one_line(cli: Cli) -> None:
    run = cli("families", "--propose", "NoTransformer")
    assert run.code == 2
    assert "no such folder or architecture" in run.err
