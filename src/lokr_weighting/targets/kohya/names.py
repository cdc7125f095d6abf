"""What sd-scripts calls a model's Linears, and which of diffusers' it has joined into one.

Read in sd-scripts' library/sd3_models.py and library/flux_models.py (commit 48d368f): it keeps the
models' first names, where q, k and v are one Linear, and in Flux's single blocks the first half of
the feed-forward with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.blocks import BlockLinear, block_linears
from lokr_weighting.models.skeleton import Skeleton, class_of

Joined = Mapping[str, tuple[str, ...]]
"""A module's name in sd-scripts -> diffusers' Linears whose outputs it has, in this order."""


@dataclass(frozen=True)
class SdScripts:
    """A class of models in sd-scripts.

    Attributes:
        class_name: its class there.
        lists: diffusers' block list -> the list there, and the Linears of its blocks.
        outside: the modules outside blocks, which no plan adapts: a name there -> diffusers'.
        classes: patterns of names there -> the modules' class, the first that fits; LyCORIS's own
            presets name classes.
    """

    class_name: str
    lists: Mapping[str, tuple[str, Joined]]
    outside: Mapping[str, str]
    classes: Mapping[str, str]


def _of_stream(there: str, attention: str, ff: str, norm: str, mlp: tuple[str, str]) -> Joined:
    """What one stream has in a block; the names with {} are told apart by q, k and v."""
    projections, out = attention.split()
    return {
        f"{there}.qkv": tuple(projections.format(each) for each in "qkv"),
        f"{there}.proj": (out,),
        mlp[0]: (f"{ff}.net.0.proj",),
        mlp[1]: (f"{ff}.net.2",),
        norm.split()[0]: (norm.split()[1],),
    }


MODELS = {
    "SD3Transformer2DModel": SdScripts(
        class_name="MMDiT",
        lists={
            "transformer_blocks": (
                "joint_blocks",
                {
                    **_of_stream(
                        "x_block.attn",
                        "attn.to_{} attn.to_out.0",
                        "ff",
                        "x_block.adaLN_modulation.1 norm1.linear",
                        ("x_block.mlp.fc1", "x_block.mlp.fc2"),
                    ),
                    "x_block.attn2.qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
                    "x_block.attn2.proj": ("attn2.to_out.0",),
                    **_of_stream(
                        "context_block.attn",
                        "attn.add_{}_proj attn.to_add_out",
                        "ff_context",
                        "context_block.adaLN_modulation.1 norm1_context.linear",
                        ("context_block.mlp.fc1", "context_block.mlp.fc2"),
                    ),
                },
            )
        },
        outside={
            "x_embedder.proj": "pos_embed.proj",
            "t_embedder.mlp.0": "time_text_embed.timestep_embedder.linear_1",
            "t_embedder.mlp.2": "time_text_embed.timestep_embedder.linear_2",
            "y_embedder.mlp.0": "time_text_embed.text_embedder.linear_1",
            "y_embedder.mlp.2": "time_text_embed.text_embedder.linear_2",
            "context_embedder": "context_embedder",
            "final_layer.linear": "proj_out",
            "final_layer.adaLN_modulation.1": "norm_out.linear",
        },
        classes={
            "joint_blocks": "ModuleList",
            "joint_blocks.*_block.attn": "AttentionLinears",
            "joint_blocks.*_block.attn2": "AttentionLinears",
            "joint_blocks.*_block.mlp": "MLP",
            "joint_blocks.*.adaLN_modulation": "Sequential",
            "joint_blocks.*_block": "SingleDiTBlock",
            "joint_blocks.*": "MMDiTBlock",
            "x_embedder": "PatchEmbed",
            "t_embedder": "TimestepEmbedding",
            "y_embedder": "Embedder",
            "final_layer": "UnPatch",
            "*": "Sequential",
        },
    ),
    "FluxTransformer2DModel": SdScripts(
        class_name="Flux",
        lists={
            "transformer_blocks": (
                "double_blocks",
                {
                    **_of_stream(
                        "img_attn",
                        "attn.to_{} attn.to_out.0",
                        "ff",
                        "img_mod.lin norm1.linear",
                        ("img_mlp.0", "img_mlp.2"),
                    ),
                    **_of_stream(
                        "txt_attn",
                        "attn.add_{}_proj attn.to_add_out",
                        "ff_context",
                        "txt_mod.lin norm1_context.linear",
                        ("txt_mlp.0", "txt_mlp.2"),
                    ),
                },
            ),
            "single_transformer_blocks": (
                "single_blocks",
                {
                    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
                    "linear2": ("proj_out",),
                    "modulation.lin": ("norm.linear",),
                },
            ),
        },
        outside={
            "img_in": "x_embedder",
            "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
            "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
            "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
            "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
            "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
            "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
            "txt_in": "context_embedder",
            "final_layer.linear": "proj_out",
            "final_layer.adaLN_modulation.1": "norm_out.linear",
        },
        classes={
            "double_blocks": "ModuleList",
            "single_blocks": "ModuleList",
            "double_blocks.*_attn": "SelfAttention",
            "double_blocks.*_mod": "Modulation",
            "double_blocks.*_mlp": "Sequential",
            "single_blocks.*.modulation": "Modulation",
            "double_blocks.*": "DoubleStreamBlock",
            "single_blocks.*": "SingleStreamBlock",
            "*_in": "MLPEmbedder",
            "final_layer": "LastLayer",
            "*": "Sequential",
        },
    ),
}
"""diffusers' class -> the model in sd-scripts."""


def linears(model: Skeleton) -> list[BlockLinear]:
    """The Linears of a model's blocks as sd-scripts has them.

    One that joins several counts as feed-forward or modulation (`base`) where one of them does.

    Args:
        model: the modules of diffusers' class.

    Raises:
        LokrWeightingError: the names of this class in sd-scripts are not known, or it has another
            Linear than those that are.
    """
    there = model_there(model)
    own = {linear.name: linear for linear in block_linears(model)}
    found: list[BlockLinear] = []
    for block in dict.fromkeys(linear.block for linear in own.values()):
        path, _, number = block.rpartition(".")
        list_there, inside = there.lists.get(path, ("", {}))
        for local, parts in inside.items():
            joined = [own.pop(f"{block}.{part}", None) for part in parts]
            present = [each for each in joined if each is not None]
            if len(present) == len(parts):
                found.append(_joined(f"{list_there}.{number}.{local}", present))
            elif present:
                own |= {each.name: each for each in present}
    if own:
        raise LokrWeightingError(
            f"{next(iter(own))}: nothing is known that it is called in sd-scripts' "
            f"{there.class_name}, so no plan can be written for it"
        )
    return found


def model_there(model: Skeleton) -> SdScripts:
    """The model's class in sd-scripts.

    Raises:
        LokrWeightingError: it is not known.
    """
    name, _ = class_of(model)
    if name not in MODELS:
        raise LokrWeightingError(
            f"what kohya's sd-scripts calls the Linears of {name} is known for "
            f"{' and '.join(MODELS)} alone"
        )
    return MODELS[name]


def stand_in(model: Skeleton) -> Skeleton:
    """The model's modules under sd-scripts' names and classes, to build networks of.

    Args:
        model: the modules of diffusers' class.

    Raises:
        LokrWeightingError: as `linears`.
    """
    there, modules = model_there(model), dict(model.named_modules())
    leaves = {
        linear.name: replace(
            modules[linear.joins[0]],
            class_name="Linear",
            library="torch",
            arguments={
                **modules[linear.joins[0]].arguments,
                "out_features": linear.out_features,
            },
        )
        for linear in linears(model)
    }
    leaves |= {name: modules[of] for name, of in there.outside.items() if of in modules}
    return _tree(leaves, there)


def _joined(name: str, parts: list[BlockLinear]) -> BlockLinear:
    first = parts[0]
    return replace(
        first,
        name=name,
        pattern=name,
        base=any(part.base for part in parts),
        out_features=sum(part.out_features for part in parts),
        joins=tuple(part.name for part in parts),
    )


def _tree(leaves: Mapping[str, Skeleton], there: SdScripts, path: str = "") -> Skeleton:
    """Modules nested as their names are."""
    groups: dict[str, dict[str, Skeleton]] = {}
    for name, leaf in leaves.items():
        first, _, rest = name.partition(".")
        groups.setdefault(first, {})[rest] = leaf
    children = {
        name: inside[""]
        if "" in inside
        else _tree(inside, there, f"{path}.{name}" if path else name)
        for name, inside in groups.items()
    }
    class_name = there.class_name
    if path:
        class_name = next(
            each for pattern, each in there.classes.items() if fnmatchcase(path, pattern)
        )
    return Skeleton(class_name, "sd-scripts", children=children)
