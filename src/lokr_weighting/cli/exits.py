"""The command line's exit codes; 0 is done."""

NOT_EXACT = 1
"""A configuration does not do what it says."""
USER_MISTAKE = 2
"""Something that was given cannot be used."""
NOT_WRITTEN = 3
"""Something could not be read or written: the disk is full, a device fails."""
