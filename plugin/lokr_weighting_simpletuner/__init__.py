"""Weighted LoKr in a SimpleTuner run: `simpletuner train accelerate_extra_args="-m ..."`.

accelerate then runs this package in train.py's place. It prepares a few hooks and runs train.py
itself; before the adapter is created it measures the run's own batches and makes the plan.
"""
