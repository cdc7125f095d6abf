"""Measuring: the probe, samples run through a model, and when it is enough."""
