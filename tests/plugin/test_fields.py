"""What a form of SimpleTuner's page says of our settings."""

from types import SimpleNamespace
from typing import Any

from lokr_weighting_simpletuner.fields import answered
from lokr_weighting_simpletuner.settings import read_settings


def test_true_false_and_numbers_are_kept_as_such_and_all_else_as_it_is() -> None:
    config: dict[str, Any] = {
        "--lokr_weighting": "True",
        "lokr_weighting_reuse": "false",
        "--lokr_weighting_similarity": None,
        "--lokr_weighting_budget": "false",
        "--lokr_weighting_samples": "40",
        "lokr_weighting_seed": "one",
        "lokr_weighting_recipe": "1",
        "validation_disable": "true",
    }
    answered(config)
    assert config == {
        "--lokr_weighting": True,
        "lokr_weighting_reuse": False,
        "--lokr_weighting_similarity": None,
        "--lokr_weighting_budget": "false",
        "--lokr_weighting_samples": 40,
        "lokr_weighting_seed": "one",
        "lokr_weighting_recipe": "1",
        "validation_disable": "true",
    }


def test_a_field_that_was_left_empty_is_no_answer() -> None:
    config = SimpleNamespace(lokr_weighting_tokens="", lokr_weighting_budget="")
    settings = read_settings(config)
    assert (settings.tokens, settings.budget) == (None, None)
