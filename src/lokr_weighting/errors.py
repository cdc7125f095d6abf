"""The errors a user can cause and mend."""


class LokrWeightingError(ValueError):
    """A mistake in what the user gave: its message says what, where, and what would be right.

    The command line prints the message without a traceback and exits with code 2.
    """


class OutputError(LokrWeightingError):
    """Something could not be written: the disk is full, the folder is gone, no permission.

    The command line exits with code 3.
    """
