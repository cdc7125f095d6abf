"""Models: families and their blocks, known architectures, loading."""
