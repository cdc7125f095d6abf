"""What runs inside a SimpleTuner run: nothing yet.

Until it does, write a configuration with `lokr-weighting plan` and name it in `lycoris_config`.
"""
