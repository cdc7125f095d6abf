"""The settings as fields of SimpleTuner: for a run's parser, and for the forms of its web page."""

from typing import Any, get_args

from lokr_weighting_simpletuner.settings import Settings, key_of

SERVICES = "simpletuner.simpletuner_sdk.server.services"
REGISTRY = f"{SERVICES}.field_registry.registry"
"""The module that has SimpleTuner's registry."""


def register_fields(registry: Any, *, page: bool = False) -> None:
    """Add the settings to SimpleTuner's field registry, from which it builds its parser and forms.

    Args:
        registry: SimpleTuner's registry.
        page: for the web page. It gives every run, weighted or not, the default of every field, and
            a run without the plugin refuses keys that it does not know: so no field has a default
            there, and every field can be left open.
    """
    from simpletuner.simpletuner_sdk.server.services.field_registry.types import (
        ConfigField,
        FieldDependency,
        FieldType,
        ImportanceLevel,
        ParserType,
    )

    lycoris = FieldDependency(field="lora_type", operator="equals", value="lycoris")
    kinds = {bool: FieldType.CHECKBOX, int: FieldType.NUMBER}
    for order, (name, field) in enumerate(Settings.model_fields.items()):
        choices = _choices(field.annotation)
        options = [{"value": choice, "label": choice} for choice in choices]
        kind = next((kinds[each] for each in kinds if _is(field.annotation, each)), FieldType.TEXT)
        default = "" if field.default is None else f"default: {field.default}"
        if page and kind is FieldType.CHECKBOX:
            options = [{"value": choice, "label": choice} for choice in ("true", "false")]
        if page and kind is FieldType.NUMBER:
            # which the page lets be emptied again
            kind = FieldType.TEXT
        said = field.description or ""
        if page and default and "Default:" not in said:
            said += f" Default: {str(field.default).lower()}."
        registry._add_field(
            ConfigField(
                name=key_of(name),
                arg_name=f"--{key_of(name)}",
                ui_label=f"LoKr weighting: {name.replace('_', ' ')}",
                field_type=FieldType.SELECT if options else kind,
                tab="model",
                section="lora_config",
                default_value=None if page else field.default,
                placeholder=default,
                choices=options or None,
                dependencies=[lycoris] if page else [],
                help_text=said,
                tooltip=said,
                importance=ImportanceLevel.ADVANCED,
                parser_type=ParserType.INTEGER if kind is FieldType.NUMBER else None,
                order=100 + order,
            )
        )


def answered(config: dict[str, Any]) -> None:
    """Make true, false and whole numbers of what the page's forms say of our settings, in place.

    The forms say it in text, and SimpleTuner leaves a text "false" out when it starts a run.

    Args:
        config: settings by name, with or without dashes.
    """
    fields = {key_of(name): field.annotation for name, field in Settings.model_fields.items()}
    for key, value in config.items():
        kind, said = fields.get(key.removeprefix("--")), str(value).strip().lower()
        if _is(kind, bool) and said in ("true", "false"):
            config[key] = said == "true"
        elif _is(kind, int) and said.isdecimal():
            config[key] = int(said)


def _is(annotation: Any, kind: type) -> bool:
    return annotation is kind or any(_is(each, kind) for each in get_args(annotation))


def _choices(annotation: Any) -> list[str]:
    """The strings that a Literal, alone or with None, allows."""
    return [
        choice
        for each in (annotation, *get_args(annotation))
        for choice in get_args(each)
        if isinstance(choice, str)
    ]
