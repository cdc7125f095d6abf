"""The one error a user can cause and mend."""


class LokrWeightingError(ValueError):
    """A mistake in what the user gave: its message says what, where, and what would be right.

    The command line prints the message without a traceback and exits with code 2.
    """
