"""Prints what SimpleTuner's own parser and our checks make of configurations.

Run in a process of its own: importing SimpleTuner changes logging and standard output.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from lokr_weighting_simpletuner.hooks import hooks_of
from lokr_weighting_simpletuner.imports import after_import
from lokr_weighting_simpletuner.run import Run

from lokr_weighting import LokrWeightingError

after_import(hooks_of(Run()))


def parsed(folder: str, env: str | None, arguments: list[str]) -> dict[str, object]:
    """The settings of the run in this folder, or why it is refused."""
    from simpletuner.helpers.configuration.loader import load_config

    os.chdir(folder)
    if env is not None:
        os.environ["ENV"] = env
    run = Run(arguments)
    try:
        config: Any = load_config(exit_on_error=True)
        run.begin(config)
    except (LokrWeightingError, ValueError) as error:
        return {"refused": str(error)}
    return {
        "settings": run.settings.model_dump(),
        "active": run.active,
        "family": config.model_family,
        "lycoris_config": config.lycoris_config,
        "data_backend_config": config.data_backend_config,
        "steps": config.max_train_steps,
    }


if __name__ == "__main__":
    cases = json.loads(Path(sys.argv[1]).read_text())
    found = [parsed(*case) for case in cases]
    Path(sys.argv[1]).write_text(json.dumps(found))
