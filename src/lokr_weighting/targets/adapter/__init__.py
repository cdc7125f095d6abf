"""A trained adapter, LoKr or LoRA: what it changes in each Linear, read one at a time."""

from lokr_weighting.targets.adapter.change import Change, Part
from lokr_weighting.targets.adapter.planned import differences_of
from lokr_weighting.targets.adapter.read import Adapter, open_adapter
from lokr_weighting.targets.adapter.spectrum import effective_rank

__all__ = ["Adapter", "Change", "Part", "differences_of", "effective_rank", "open_adapter"]
