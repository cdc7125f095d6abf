"""What a LyCORIS file holds, and how large it is."""

import json
from collections.abc import Sequence

from lokr_weighting.models.blocks import BlockLinear

PREFIX = "lycoris"
BYTES_PER_PARAMETER = 2  # bf16
METADATA_BYTES = 2**16  # room left for what a trainer writes beside the tensors


def lycoris_key(name: str) -> str:
    """What LyCORIS's files call the module of that name in the model."""
    return f"{PREFIX}_{name.replace('.', '_')}"


def file_overhead(linears: Sequence[BlockLinear]) -> int:
    """Bytes of a LyCORIS safetensors file that are not trainable parameters, at most.

    The header names three tensors for each Linear (w1, w2 and the 2-byte alpha), and one more where
    something is added to it.
    """
    entries = {
        f"{lycoris_key(linear.name)}.lokr_w1": {
            "dtype": "BF16",
            "shape": [99999, 99999, *linear.kernel],
            "data_offsets": [10**11, 10**11],
        }
        for linear in linears
    }
    header = json.dumps(entries, separators=(",", ":"))
    tensors = 4 if any(linear.added for linear in linears) else 3
    return tensors * len(header) + 2 * len(linears) + METADATA_BYTES
