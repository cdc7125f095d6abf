import shutil
from collections.abc import Callable
from pathlib import Path

import lokr_weighting
from lokr_weighting.plan.splits import split_of
from tests.conftest import Run

Cli = Callable[..., Run]
DIGITS = Path(lokr_weighting.__file__).parent / "digits"


def test_the_table_and_its_json_say_the_same(cli: Cli) -> None:
    table, data = cli("sizes", "sd3.5-large"), cli("sizes", "sd3.5-large", "--json").json
    assert (table.code, table.err) == (0, "")
    for shape in data["shapes"]:
        assert f"{shape['in_features']} -> {shape['out_features']}" in table.out
        for row in shape["splits"]:
            assert f"{row['parameters']:,}" in table.out
            assert row["split"] == [
                *split_of(shape["out_features"], shape["in_features"], row["high"])
            ]
    assert all(f"{row['parameters']:,}" in table.out for row in data["uniform"])
    assert "8 to 15" in table.out


def test_a_folders_model_has_the_sizes_of_its_own_widths(cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(DIGITS / "transformer", tmp_path / "mine" / "transformer")
    known, folder = (cli("sizes", name, "--json").json for name in ("digits", "mine"))
    assert folder["shapes"] == known["shapes"]
    assert folder["uniform"] == known["uniform"]


def test_a_model_that_is_not_there_is_one_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for model, said in (("nothing", "no such folder or architecture"), ("empty", "config.json")):
        run = cli("sizes", model)
        assert (run.code, run.out) == (2, "")
        assert said in run.err
