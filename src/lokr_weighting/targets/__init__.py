"""What a plan becomes: one module for each trainer's format."""
