"""Small random diffusers pipelines of further families, one file a pipeline."""
