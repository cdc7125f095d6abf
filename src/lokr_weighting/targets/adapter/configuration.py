"""What peft's configuration of an adapter says of its scale: from a folder, or a file's header."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import checked, read_json
from lokr_weighting.parsing import parse_json, shortened
from lokr_weighting.targets.adapter.change import Algorithm
from lokr_weighting.targets.peft.layout import DIFFUSERS_METADATA, MODULE, MOST
from lokr_weighting.targets.trained import PREFIXES, value_of_pattern

Rank = Annotated[int, Field(ge=1, le=1 << 40, strict=True)]
Alpha = Annotated[float, Field(gt=-MOST, lt=MOST, allow_inf_nan=False, strict=True)]
ALGORITHMS: Mapping[str, Algorithm] = {"LOKR": "LoKr", "LORA": "LoRA"}
"""peft's names -> ours."""
OTHER_WEIGHTS = ("pissa", "olora", "loftq", "corda", "lora_ga")
"""peft's initialisations of a LoRA that change the model's own weights, by how they begin."""


class Configuration(BaseModel):
    """The keys that decide the scale of an adapter's change; peft's others are not looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    peft_type: Literal["LOKR", "LORA"] | None = None
    r: Rank
    alpha: Alpha = Field(validation_alias=AliasChoices("alpha", "lora_alpha"))
    rank_pattern: dict[str, Rank] = {}
    alpha_pattern: dict[str, Alpha] = {}
    use_rslora: bool = False
    fan_in_fan_out: Literal[False] = False
    kasa_config: None = None
    init_lora_weights: bool | str | None = True

    @field_validator("rank_pattern", "alpha_pattern", mode="before")
    @classmethod
    def _names_alone(cls, patterns: Any) -> Any:
        """No pattern that could run for ever; peft writes null for none."""
        for pattern in patterns if isinstance(patterns, dict) else ():
            if not MODULE.fullmatch(pattern):
                raise ValueError(
                    f"{shortened(repr(pattern))}: only the names of modules are read, no other "
                    "regular expressions"
                )
        return {} if patterns is None else patterns

    @field_validator("init_lora_weights")
    @classmethod
    def _changes_nothing_else(cls, kind: bool | str | None) -> bool | str | None:
        if isinstance(kind, str) and kind.lower().startswith(OTHER_WEIGHTS):
            raise ValueError(
                "this initialisation changes the model's own weights, and what the adapter adds to "
                "those is not its change; save it with path_initial_model_for_weight_conversion"
            )
        return kind

    def rank(self, name: str) -> int:
        """The rank that a module was made with."""
        return int(value_of_pattern(dict(self.rank_pattern), name, self.r))

    def scale(self, name: str) -> float:
        """What a module's product is multiplied by."""
        alpha = value_of_pattern(dict(self.alpha_pattern), name, self.alpha)
        rank = self.rank(name)
        return alpha / (math.sqrt(rank) if self.use_rslora else rank)


def read_configuration(file: Path) -> Configuration:
    """The configuration in an adapter's folder.

    Raises:
        LokrWeightingError: it cannot be read, or is of another algorithm; names file and key.
    """
    return checked(Configuration, read_json(file), str(file))


def configuration_in_header(metadata: Mapping[str, str], file: Path) -> Configuration | None:
    """The configuration that diffusers writes into a file's header; None where there is none.

    Raises:
        LokrWeightingError: it makes no sense.
    """
    text = metadata.get(DIFFUSERS_METADATA)
    if text is None:
        return None
    where = f"{file}: {DIFFUSERS_METADATA}"
    data = parse_json(text, where, finite=True)
    if not isinstance(data, dict):
        raise LokrWeightingError(f"{where}: holds a JSON {type(data).__name__}, not an object")
    prefix = next((each for each in PREFIXES if f"{each}r" in data), None)
    if prefix is None:
        return None
    own = {key.removeprefix(prefix): value for key, value in data.items() if key.startswith(prefix)}
    return checked(Configuration, own, where)
