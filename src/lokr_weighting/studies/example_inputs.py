"""Example inputs for a transformer of diffusers, made from its forward's parameters and its config.

A small random one of the class stands for the model: fewer blocks and heads, no weights of anybody.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lokr_weighting.errors import LokrWeightingError

TEXT = 32
HEIGHT, WIDTH = 4, 16  # in patches of two latents
# both streams in multiples of 32, for Z-Image fills up to that, and of different lengths, so that
# no output can be taken for the other stream's
BLOCKS, HEADS = 2, 2
SPREAD = 0.05  # what is added to every weight: gates that begin at zero do something then
LARGEST = 1_000_000_000  # parameters that a small model may still have
REASONS = 4  # that are told at most
IN_CHANNELS = ("in_channels", "in_visual_dim")
TEXT_WIDTH = (
    *("joint_attention_dim", "text_embed_dim", "cap_feat_dim", "text_dim", "in_text_dim"),
    *("caption_channels", "text_hidden_dim", "context_in_dim", "cross_attention_dim"),
)
POOLED = ("pooled_projection_dim", "in_text_dim2")
ROPE_AXES = ("axes_dims_rope", "axes_dim_rope", "axes_dims")
"""Keys of a configuration, the first that is there counts."""
A_COUNT_OF_BLOCKS = re.compile(r"(num|n)_.*(layers|blocks)|(num|n)_layers|depth")


def small_model(config: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """A small random transformer of a configuration's class, and inputs that it runs with.

    Args:
        config: as in transformer/config.json, with "_class_name".

    Raises:
        LokrWeightingError: diffusers has no such class, or no example could be made that it runs
            with; says why not.
    """
    import diffusers

    own_class = getattr(diffusers, str(config["_class_name"]), None)
    if not (isinstance(own_class, type) and issubclass(own_class, nn.Module)):
        raise LokrWeightingError(
            f"diffusers {diffusers.__version__} has no model {config['_class_name']}"
        )
    own: Any = own_class
    reasons: dict[str, None] = {}
    for smaller in _smaller(config):
        try:
            with torch.device("meta"):
                size = sum(each.numel() for each in own.from_config(smaller).parameters())
            if size > LARGEST:
                reasons[f"{size / 1e9:.1f} billion parameters with {BLOCKS} blocks"] = None
                continue
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model = own.from_config(smaller).eval()
                for parameter in model.parameters():
                    parameter.data += SPREAD * torch.randn_like(parameter)
            for inputs in _tries(model, dict(model.config)):
                try:
                    with torch.no_grad():
                        model(**inputs)
                except Exception as error:
                    reasons[_told(error)] = None
                else:
                    return model, inputs
        # a configuration that does not go together can make a class raise anything
        except Exception as error:
            reasons[_told(error)] = None
    tried = "; ".join([*reasons][:REASONS])
    needed = [name for name, each in _parameters(own) if each.default is each.empty]
    raise LokrWeightingError(
        f"{config['_class_name']}: no example of its inputs could be made ({tried}); its forward "
        f"needs {', '.join(needed) or 'nothing'}: give your own to "
        "lokr_weighting.studies.proposal.propose(model, inputs)"
    )


def _told(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}"


def _smaller(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The configuration with fewer blocks and heads, then with fewer blocks alone."""
    fewer = {
        key: min(value, BLOCKS)
        if isinstance(value, int)
        and A_COUNT_OF_BLOCKS.fullmatch(key)
        # a flag is an int too
        and not isinstance(value, bool)
        else value
        for key, value in config.items()
    }
    heads = next((key for key in ("num_attention_heads", "n_heads") if fewer.get(key)), None)
    if heads is not None:
        yield _with_few_heads(fewer, heads)
    yield fewer


def _with_few_heads(config: dict[str, Any], heads: str) -> dict[str, Any]:
    count = config[heads]
    sizes = [config[key] for key in ("dim", "hidden_size", "model_dim") if key in config]
    width = sizes[0] if sizes else count * config.get("attention_head_dim", 0)
    narrow = width // count * min(count, HEADS)
    small = {
        key: narrow if value == width and isinstance(value, int) else value
        for key, value in config.items()
    }
    for key in ("num_kv_heads", "n_kv_heads"):
        if key in config:
            small[key] = min(count, HEADS) if config[key] == count else 1
    return small | {heads: min(count, HEADS)}


def _parameters(model: Any) -> list[tuple[str, inspect.Parameter]]:
    """The parameters of a model's forward, without itself."""
    return list(inspect.signature(model.forward).parameters.items())[
        1 if isinstance(model, type) else 0 :
    ]


def _first(config: Mapping[str, Any], keys: tuple[str, ...], default: int) -> Any:
    return next((config[key] for key in keys if config.get(key) is not None), default)


def _tries(model: nn.Module, config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Inputs with the image as a picture, patches, a video in three layouts, a list of videos."""
    channels = _first(config, IN_CHANNELS, 4)
    height, width = 2 * HEIGHT, 2 * WIDTH
    layouts = [(1, channels, height, width), (1, HEIGHT * WIDTH, channels)]
    layouts += [(1, channels, 1, height, width), (1, 1, height, width, channels)]
    layouts.append((1, 1, channels, height, width))
    for shape in layouts:
        yield from _with_image(model, config, torch.randn(shape), listed=False)
    yield from _with_image(model, config, torch.randn(channels, 1, height, width), listed=True)


def _with_image(
    model: nn.Module, config: Mapping[str, Any], image: Tensor, *, listed: bool
) -> Iterator[dict[str, Any]]:
    """Inputs with what the forward needs, then with all that is known here."""
    own = _examples(config, image, listed=listed)
    parameters = _parameters(model)
    needed = {name for name, each in parameters if each.default is each.empty}
    always = {"hidden_states", "x", "encoder_hidden_states", "timestep", "guidance", "return_dict"}
    always |= {"num_frames", "height", "width", "img_shapes", "txt_seq_lens", "pooled_projections"}
    yield {name: own[name] for name, _ in parameters if name in own and name in needed | always}
    yield {name: own[name] for name, _ in parameters if name in own}


def _examples(config: Mapping[str, Any], image: Tensor, *, listed: bool) -> dict[str, Any]:
    """An example of every argument whose meaning is known by its name."""
    width = _first(config, TEXT_WIDTH, 16)
    text = torch.randn(1, TEXT, width[0] if isinstance(width, list | tuple) else width)
    axes = _first(config, ROPE_AXES, 0)
    axes_count = len(axes) if isinstance(axes, list | tuple) else 3
    places = torch.zeros(HEIGHT * WIDTH, axes_count)
    places[:, -2] = torch.arange(HEIGHT * WIDTH) // WIDTH
    places[:, -1] = torch.arange(HEIGHT * WIDTH) % WIDTH
    size = torch.full((1, 2), 8.0 * HEIGHT)
    moment = torch.full((1,), 500.0)
    return {
        "hidden_states": image,
        "x": [image] if listed else image,
        "encoder_hidden_states": text,
        "cap_feats": [text[0]] if listed else text,
        "timestep": moment,
        "t": moment / 1000,
        "encoder_attention_mask": torch.ones(1, TEXT, dtype=torch.bool),
        "pooled_projections": torch.randn(1, _first(config, POOLED, 16)),
        **({"guidance": torch.ones(1)} if config.get("guidance_embeds") else {}),
        "img_ids": places,
        "txt_ids": torch.zeros(TEXT, axes_count),
        "visual_rope_pos": [torch.arange(count) for count in (1, HEIGHT, WIDTH)],
        "text_rope_pos": torch.arange(TEXT),
        "img_shapes": [[(1, HEIGHT, WIDTH)]],
        "txt_seq_lens": [TEXT],
        "num_frames": 1,
        "fps": 24,
        "padding_mask": torch.zeros(1, 1, 2 * HEIGHT, 2 * WIDTH),
        "height": HEIGHT,
        "width": WIDTH,
        "original_size": size,
        "target_size": size,
        "added_cond_kwargs": {"resolution": size, "aspect_ratio": torch.ones(1, 1)},
        "crop_coords": torch.zeros(1, 2),
        "return_dict": False,
    }
