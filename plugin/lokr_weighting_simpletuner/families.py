"""SimpleTuner's own transformers: classes of diffusers' names, with other ways to run a block."""

from lokr_weighting.blocks import JOINED, BlockList, Family, register_family

LIBRARY = "simpletuner"
JOINT = ("norm1_context*", "norm1*", "ff*")

FAMILIES = {
    "sd3": Family(
        "sd3",
        ("SD3Transformer2DModel",),
        (BlockList("transformer_blocks", JOINT),),
        LIBRARY,
        functions=("_sd3_apply_joint_transformer_block",),
    ),
    "flux": Family(
        "flux",
        ("FluxTransformer2DModel",),
        (
            BlockList("transformer_blocks", JOINT),
            BlockList("single_transformer_blocks", ("norm*", "proj_mlp*", "proj_out*"), JOINED),
        ),
        LIBRARY,
    ),
    "auraflow": Family(
        "auraflow",
        ("AuraFlowTransformer2DModel",),
        (
            BlockList("joint_transformer_blocks", JOINT),
            BlockList("single_transformer_blocks", ("norm1*", "ff*"), JOINED),
        ),
        LIBRARY,
    ),
}
"""SimpleTuner's `model_family` -> its transformer's family."""

for _family in FAMILIES.values():
    register_family(_family)
