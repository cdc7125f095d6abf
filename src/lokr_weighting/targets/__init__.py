"""What a plan becomes: a row of `registry` for each trainer's format."""
