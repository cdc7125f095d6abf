import json
from collections.abc import Callable
from pathlib import Path

from tests import mixed
from tests.conftest import Run

Cli = Callable[..., Run]


def test_records_of_mixed_blocks_are_averaged_and_read_with_nulls(cli: Cli, tmp_path: Path) -> None:
    records = mixed.records()
    with (tmp_path / "r.jsonl").open("w") as file:
        for time, image, text in zip(records.timesteps, records.image, records.text, strict=True):
            streams = {"hidden_states": image, "encoder_hidden_states": text}
            numbers = {
                key: [None if number != number else number for number in row.tolist()]
                for key, row in streams.items()
            }
            file.write(json.dumps({"timestep": time} | numbers) + "\n")
    done = cli("heatmaps", "r.jsonl")
    assert done.code == 0, done.err
    assert "60 samples, 10 bins, 10 blocks" in done.out
    data = json.loads((tmp_path / "heatmaps.json").read_text())
    for stream, missing in (("image", mixed.TEXT), ("text", mixed.IMAGE)):
        nulls = [block for block, number in enumerate(data[stream][0]) if number is None]
        assert nulls == missing
    done = cli("findings", "--heatmaps", "heatmaps.json", "--json")
    assert done.code == 0, done.err
    assert all(each["blocks"] for each in done.json)
