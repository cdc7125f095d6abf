"""Whose classes a model is made of: SimpleTuner has transformers of its own beside diffusers'.

Their modules have the same names and sizes, but some have other classes, and a LyCORIS
configuration can name classes.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from lokr_weighting.models.skeleton import Skeleton, class_of
from lokr_weighting.models.table import FamilyFile, family_files

Trainer = Literal["simpletuner", "diffusers"]

LIBRARIES = {
    "simpletuner": "SimpleTuner",
    "diffusers": "diffusers",
    "kohya": "kohya's sd-scripts",
}
"""A trainer -> what its library is called."""
SIMPLETUNER_VERSION = "4.10.1"
"""The version whose classes the families' files name."""


def as_in(model: Skeleton, trainer: Trainer) -> Skeleton | None:
    """The modules of diffusers' model under the class names that they have in a trainer.

    Args:
        model: the modules of diffusers' own class.
        trainer: whose classes are wanted.

    Returns:
        the modules; None where the trainer's classes are not known.
    """
    if trainer == "diffusers":
        return model
    name, _ = class_of(model)
    file = next((file for file in family_files() if name in file.classes), None)
    if file is None or file.simpletuner is None:
        return None
    return _with_own_lists(_renamed(model, file.simpletuner.class_names), file)


def _renamed(model: Skeleton, class_names: Mapping[str, str]) -> Skeleton:
    children = {name: _renamed(child, class_names) for name, child in model.children.items()}
    own = class_names.get(model.class_name, model.class_name)
    return replace(model, class_name=own, children=children)


def _with_own_lists(model: Skeleton, file: FamilyFile) -> Skeleton:
    assert file.simpletuner is not None
    lists = {
        blocks.path: replace(model.children[blocks.path], class_name=file.simpletuner.list_class)
        for blocks in file.lists
        if blocks.path in model.children
    }
    return replace(model, children={**model.children, **lists})
