"""The plan as stock peft adapters: one LoKr adapter for each split, all active together.

peft's LoKr has one `decompose_factor` for a whole adapter, so a plan becomes several adapters, each
in a folder of its own. They need no code of this package to be loaded: peft and diffusers read them
as they are. An adapter's name says how many there are ("lokr_2of3"), so that a part is not taken
for the whole.
"""

from copy import copy
from pathlib import Path
from typing import Any

from peft import (
    LoKrConfig,
    PeftModel,
    get_peft_model_state_dict,
    load_peft_weights,
    set_peft_model_state_dict,
)
from peft import get_peft_model as stock_get_peft_model
from peft.tuners.lokr.layer import LoKrLayer
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from torch import Tensor, nn

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.blocks import shape_of
from lokr_weighting.models.skeleton import skeleton_of
from lokr_weighting.plan.plan import Plan
from lokr_weighting.targets.peft.layout import (
    PEFT_PREFIX,
    TOLD_TO_DIFFUSERS,
    all_of,
    configs,
    read_configs,
    saved_names,
    write_adapter,
)
from lokr_weighting.targets.replaced import NAME
from lokr_weighting.targets.tensors import Tensors, differences_from_plan


def get_peft_model(model: nn.Module, plan: Plan, **options: Any) -> PeftModel:
    """Wrap a model with the plan's adapters, all active and trainable: make the optimizer after it.

    Args:
        model: the transformer; its other parameters are frozen.
        plan: the plan.
        options: other arguments of peft's LoKrConfig; those in `options.HONOURED` are given to
            every adapter, all others are refused by name.

    Raises:
        LokrWeightingError: the plan is of another model, an option cannot be, or peft would not
            make what was planned.
    """
    _check_fits(plan, model)
    wrapped: PeftModel | None = None
    adapters = configs(plan, **options)
    for name, config in adapters.items():
        if wrapped is None:
            wrapped = stock_get_peft_model(model, config, adapter_name=name)  # pyright: ignore
        else:
            wrapped.add_adapter(name, config)
    assert wrapped is not None
    _activate(wrapped, list(adapters))
    _check_made(plan, wrapped.get_base_model())
    return wrapped


def add_adapter(model: Any, plan: Plan, **options: Any) -> list[str]:
    """Add the plan's adapters to a diffusers model in its own way, all active and trainable.

    Args:
        model: a diffusers model (`PeftAdapterMixin`); freeze it before, as for any adapter.
        plan: the plan.
        options: as for `get_peft_model`.

    Returns:
        the adapters' names.

    Raises:
        LokrWeightingError: the plan is of another model, an option cannot be, or peft would not
            make what was planned.
    """
    _check_fits(plan, model)
    adapters = configs(plan, **options)
    for name, config in adapters.items():
        model.add_adapter(config, adapter_name=name)
    model.set_adapter(list(adapters))
    _check_made(plan, model)
    return list(adapters)


def save_pretrained(model: nn.Module, folder: Path | str) -> None:
    """Save the weighted adapters of a model, however they were added.

    The files are those of a PeftModel's own `save_pretrained`, and also tell diffusers each
    adapter's `decompose_factor`, which it cannot always infer from the tensors.

    Args:
        model: a PeftModel, or a diffusers model with weighted adapters.
        folder: gets one folder for each adapter.

    Raises:
        LokrWeightingError: the model has no weighted adapters, or not all of them.
    """
    for name, tensors in state_dicts(model).items():
        prefixed = {
            PEFT_PREFIX + key.removeprefix(PEFT_PREFIX): tensor for key, tensor in tensors.items()
        }
        config = copy(_configs_of(model)[name])
        config.inference_mode = True
        write_adapter(Path(folder) / name, config, prefixed)


def state_dicts(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Every weighted adapter's tensors; peft's own helper knows one adapter at a time."""
    tensors = model.state_dict()
    return {
        # peft before 0.19 would give every adapter's LoKr tensors to each
        name: get_peft_model_state_dict(
            model,
            {key: tensor for key, tensor in tensors.items() if name in key.split(".")},
            adapter_name=name,
        )
        for name in adapter_names(model)
    }


def load(model: nn.Module, folder: Path | str, is_trainable: bool = False) -> PeftModel:
    """Load saved adapters, all of them active.

    Args:
        model: the transformer that they were trained on.
        folder: what `save_pretrained` wrote.
        is_trainable: whether to go on training them.

    Raises:
        LokrWeightingError: the folder holds no weighted adapters, or not all of them.
    """
    names = saved_names(Path(folder))
    first, *others = names
    wrapped = PeftModel.from_pretrained(
        model, str(Path(folder) / first), adapter_name=first, is_trainable=is_trainable
    )
    for name in others:
        wrapped.load_adapter(str(Path(folder) / name), name, is_trainable=is_trainable)
    _activate(wrapped, names, inference_mode=not is_trainable)
    return wrapped


def load_lora_adapter(model: Any, folder: Path | str) -> list[str]:
    """Load saved adapters into a diffusers model in its own way, all of them active.

    Args:
        model: the diffusers transformer that they were trained on.
        folder: what `save_pretrained` wrote.

    Returns:
        the adapters' names.

    Raises:
        LokrWeightingError: the folder holds no weighted adapters, or not all of them.
    """
    adapters = read_configs(Path(folder))
    for name, config in adapters.items():
        told = {key: getattr(config, key) for key in (*TOLD_TO_DIFFUSERS, "target_modules")}
        model.load_lora_adapter(
            str(Path(folder) / name),
            weight_name=SAFETENSORS_WEIGHTS_NAME,
            prefix=PEFT_PREFIX.rstrip("."),
            metadata={PEFT_PREFIX + key: value for key, value in told.items()},
            adapter_name=name,
        )
    model.set_adapters(list(adapters))
    return list(adapters)


def load_into(model: nn.Module, folder: Path | str) -> None:
    """Load saved adapters' tensors into a model that already has those adapters, e.g. to resume.

    Args:
        model: a model with weighted adapters of the same plan.
        folder: what `save_pretrained` wrote.

    Raises:
        LokrWeightingError: the folder's adapters are not the model's.
    """
    names, own = saved_names(Path(folder)), adapter_names(model)
    if names != own:
        raise LokrWeightingError(f"{folder}: holds {len(names)} adapters, the model {len(own)}")
    for name in names:
        tensors = load_peft_weights(str(Path(folder) / name), device="cpu")
        try:
            outcome = set_peft_model_state_dict(model, tensors, adapter_name=name)
        except RuntimeError as error:
            raise LokrWeightingError(
                f"{Path(folder) / name}: is of another plan: {error}"
            ) from None
        if outcome.unexpected_keys:
            raise LokrWeightingError(
                f"{Path(folder) / name}: is of another plan: {outcome.unexpected_keys[0]}"
            )


def merge(model: Any) -> nn.Module:
    """Add the weighted adapters to the model's own weights, and take them out of it.

    Args:
        model: a PeftModel, or a diffusers model with weighted adapters.

    Returns:
        the plain model.

    Raises:
        LokrWeightingError: the model has no weighted adapters.
    """
    names = adapter_names(model)
    if isinstance(model, PeftModel):
        return model.merge_and_unload(adapter_names=names)
    model.fuse_lora(adapter_names=names)
    model.unload_lora()
    return model


def adapter_names(model: Any) -> list[str]:
    """The names of a model's weighted adapters.

    Raises:
        LokrWeightingError: it has none, or not all of them.
    """
    names = [name for name in getattr(model, "peft_config", {}) if NAME.fullmatch(name)]
    return all_of(names, "the model")


def made_tensors(model: nn.Module) -> dict[str, Tensors]:
    """What stock LoKr adapters adapt in a model: the module's full name -> its tensors."""
    made: dict[str, Tensors] = {}
    for name, module in model.named_modules():
        if isinstance(module, LoKrLayer):
            tensors = {
                kind: tuple(tensor.shape)
                for kind in module.adapter_layer_names
                for tensor in getattr(module, kind).values()
            }
            made[name] = tensors
    return made


def _configs_of(model: Any) -> dict[str, LoKrConfig]:
    return model.peft_config


def _activate(model: PeftModel, names: list[str], **options: Any) -> None:
    """Make several adapters active; PeftModel's own set_adapter takes one name."""
    tuner: Any = model.base_model
    tuner.set_adapter(names, **options)


def _check_fits(plan: Plan, model: nn.Module) -> None:
    sizes = {name: shape_of(module) for name, module in skeleton_of(model).named_modules()}
    for linear in plan.linears:
        if sizes.get(linear.name) != linear.shape:
            what = f"a convolution of shape {list(linear.shape)}"
            if not linear.kernel:
                what = f"a Linear({linear.in_features}, {linear.out_features})"
            raise LokrWeightingError(
                f"the plan is for {plan.model}: {linear.name} is {what} there and not in this "
                f"{type(model).__name__}"
            )


def _check_made(plan: Plan, model: nn.Module) -> None:
    wrong = differences_from_plan(plan, made_tensors(model))
    if wrong:
        raise LokrWeightingError(f"peft did not make what was planned: {'; '.join(wrong[:3])}")
