"""The `lokr_weighting*` settings: read by SimpleTuner's own parser, checked by pydantic."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import checked, read_json
from lokr_weighting.plan.budget import largest_size
from lokr_weighting.plan.recipe import Recipe

PREFIX = "lokr_weighting"


def key_of(name: str) -> str:
    """The setting's key in a SimpleTuner configuration; `enabled` is the prefix itself."""
    return PREFIX if name == "enabled" else f"{PREFIX}_{name}"


class Settings(BaseModel):
    """One field for each setting."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=key_of)

    enabled: bool = Field(
        True,
        description="Measure the run's own batches and give every LoKr module the factor that "
        "follows. Written in the configuration, it also makes a run that was started without the "
        "plugin stop instead of training unweighted.",
    )
    budget: str | None = Field(
        None,
        description="What the adapter may cost: 120M parameters, a 240MiB bf16 file, or "
        "uniform:8 for what factor 8 everywhere would cost. Default: what the recipe costs.",
    )
    samples: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Measure exactly so many samples. Default: until the plan is settled."
    )
    max_samples: Annotated[int, Field(ge=1)] = Field(
        2048, description="Stop measuring here even if the plan is not settled."
    )
    max_factor: Annotated[int, Field(ge=1)] | None = Field(
        None, description="The recipe's largest factor, for the block that contributes least."
    )
    tokens: Literal["mean", "last", "last-real"] | None = Field(
        None,
        description="Average the distance over every real token, or take the last token's, as the "
        "SD3.5-Large study did, or the last real token's. Default: the recipe's, which averages.",
    )
    recipe: str | None = Field(None, description="A JSON file of recipe settings.")
    seed: Annotated[int, Field(ge=0)] = Field(
        0, description="Decides the batches, timesteps and noise that are measured."
    )
    reuse: bool = Field(
        True, description="Plan from a finished calibration of the same model and data."
    )
    similarity: bool = Field(
        False,
        description="Gather the similarity of every pair of blocks in the same pass; the report "
        "shows it, with the groups of blocks.",
    )
    measure_only: bool = Field(
        False,
        description="Measure, plan and write the files, but train the run's own LyCORIS "
        "configuration.",
    )
    on_error: Literal["stop", "continue"] = Field(
        "stop",
        description="What to do when the calibration fails: stop before training, or continue "
        "with the run's own LyCORIS configuration.",
    )

    def read_recipe(self) -> Recipe:
        """The recipe file, changed by the settings.

        Raises:
            LokrWeightingError: the file is missing, or a setting in it makes no sense.
        """
        data = read_json(Path(self.recipe)) if self.recipe else {}
        given = {"max_factor": self.max_factor, "tokens": self.tokens}
        data |= {name: value for name, value in given.items() if value is not None}
        return checked(Recipe, data, self.recipe or "recipe")


def read_settings(config: Any, arguments: Sequence[str] = ()) -> Settings:
    """The settings of a run, from its parsed configuration and its command line.

    SimpleTuner itself ignores the command line where it reads a configuration file.

    Args:
        config: SimpleTuner's parsed configuration.
        arguments: train.py's command line, e.g. "--lokr_weighting_budget=120M".

    Raises:
        LokrWeightingError: a value makes no sense, or the recipe file cannot be used.
    """
    values = {key: getattr(config, key, None) for key in map(key_of, Settings.model_fields)}
    # an empty field of the web page is no answer
    given = {key: value for key, value in values.items() if value not in (None, "")}
    for argument in arguments:
        key, _, value = argument.removeprefix("--").partition("=")
        if key.startswith(PREFIX):
            given[key] = value or True
    settings = checked(Settings, given, "SimpleTuner's configuration")
    bins = settings.read_recipe().bins
    for name in ("samples", "max_samples"):
        count = getattr(settings, name)
        if count is not None and count < 2 * bins:
            raise LokrWeightingError(
                f"{key_of(name)} = {count}: {bins} timestep bins need at least {2 * bins}"
            )
    if settings.budget is not None:
        largest_size(settings.budget, [])
    return settings
