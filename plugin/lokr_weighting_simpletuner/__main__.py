"""Run SimpleTuner's train.py with a weighted LoKr, or its web page: `python -m ... train.py`."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

from lokr_weighting.errors import LokrWeightingError, OutputError

SERVER = "server"
USER_MISTAKE, NOT_WRITTEN, INTERRUPTED = 2, 3, 130
USAGE = """\
lokr_weighting_simpletuner runs in the place of SimpleTuner's train.py. Start it with
    simpletuner train accelerate_extra_args="-m lokr_weighting_simpletuner"
(no dashes in front), or set ACCELERATE_EXTRA_ARGS="-m lokr_weighting_simpletuner".
SimpleTuner's web page with this plugin's settings in its forms:
    python -m lokr_weighting_simpletuner server"""


def main() -> int:
    """Run train.py, the first argument, or `server`, with what follows as its arguments."""
    arguments = sys.argv[1:]
    if arguments[:1] == [SERVER]:
        return _ended(lambda: _serve(arguments))
    if not arguments or Path(arguments[0]).name != "train.py" or not Path(arguments[0]).is_file():
        print(USAGE, file=sys.stderr)  # noqa: T201
        return USER_MISTAKE
    sys.argv = arguments
    sys.path[0] = str(Path(arguments[0]).resolve().parent)
    return _ended(lambda: _run(arguments))


def _ended(work: Callable[[], int]) -> int:
    """The exit code of what was done; what ends it early is said in one line."""
    try:
        return work()
    except OutputError as error:
        said, code = str(error), NOT_WRITTEN
    except LokrWeightingError as error:
        said, code = str(error), USER_MISTAKE
    except KeyboardInterrupt:
        said, code = "interrupted; the same command goes on", INTERRUPTED
    print(f"lokr-weighting: {said}", file=sys.stderr, flush=True)  # noqa: T201
    return code


def _run(arguments: list[str]) -> int:
    # these import torch, which a misuse need not wait for
    from lokr_weighting_simpletuner.hooks import hooks_of
    from lokr_weighting_simpletuner.imports import after_import
    from lokr_weighting_simpletuner.run import Run

    run = Run(arguments[1:])
    after_import(hooks_of(run))
    runpy.run_path(arguments[0], run_name="__main__")
    # train.py itself ends an interrupted run as if it were done
    return INTERRUPTED if run.interrupted else 0


def _serve(arguments: list[str]) -> int:
    from lokr_weighting_simpletuner.server import serve

    return serve(arguments)


if __name__ == "__main__":
    sys.exit(main())
