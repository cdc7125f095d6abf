"""Log lines in SimpleTuner's own style, from the first process only."""

import logging
import os
from functools import cache


@cache
def logger() -> logging.Logger:
    """The logger, as SimpleTuner makes its own."""
    from simpletuner.helpers.logging import get_logger
    from simpletuner.helpers.training.multi_process import should_log

    own = get_logger("LokrWeighting", propagate=True)
    own.setLevel(os.environ.get("SIMPLETUNER_LOG_LEVEL", "INFO") if should_log() else "ERROR")
    return own
