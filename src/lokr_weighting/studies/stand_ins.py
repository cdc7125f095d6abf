"""What stands in the place of blocks: nothing, several side by side, and these again and again."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lokr_weighting.models.arguments import argument, with_argument
from lokr_weighting.models.family import Streams

Call = Callable[..., Any]


class StandIn(nn.Module):
    """Stands in the place of a block, whether the model calls it or hands it to a function.

    Args:
        block: the block in whose place it stands: its forward says what the arguments are called.
        streams: where the streams enter and leave it.

    Attributes:
        runs: how often it ran.
    """

    def __init__(self, block: nn.Module, streams: Streams) -> None:
        super().__init__()
        self.block_class = type(block)
        self.streams = streams
        self.runs = 0

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Called as its block would be."""
        return self.run(self.block_class.forward, nn.Module.__call__, args, kwargs)

    def run(
        self, function: Call, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """What comes out in the block's place.

        Args:
            function: whose parameters the arguments are, without the first.
            call: runs the block that is given to it first.
            args: what was passed by place, without the block.
            kwargs: what was passed by name.
        """
        self.runs += 1
        return self.output(function, call, args, kwargs)

    def output(
        self, function: Call, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any], /
    ) -> Any:
        """As `run`."""
        raise NotImplementedError


class Identity(StandIn):
    """A block that hands on what it gets."""

    def output(
        self, function: Call, _call: Call, args: Sequence[Any], kwargs: Mapping[str, Any], /
    ) -> Any:
        """Return the streams in the places where the block returns them."""

        def entered(name: str) -> Any:
            return argument(name, function, args, kwargs, self.block_class.__name__)

        streams = self.streams
        if streams.image_in is None:
            assert streams.text_in is not None
            text = entered(streams.text_in)
            return text if streams.text_out is None else (*[None] * streams.text_out, text)
        image = entered(streams.image_in)
        if streams.image_out is None:
            return image
        places = {streams.image_out: image}
        if streams.text_out is not None and streams.text_in is not None:
            places[streams.text_out] = entered(streams.text_in)
        return tuple(places.get(place) for place in range(max(places) + 1))


class Parallel(StandIn):
    """Several blocks on the same input, their outputs averaged; the averages as input again.

    Args:
        blocks: the blocks.
        streams: where the streams enter and leave them.
        times: how often they run; more than once is the looped parallel.
    """

    def __init__(self, blocks: Sequence[nn.Module], streams: Streams, times: int = 1) -> None:
        super().__init__(blocks[0], streams)
        self.blocks = nn.ModuleList(blocks)
        self.times = times

    def output(
        self, function: Call, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any], /
    ) -> Any:
        """Average each stream over the blocks that hand it on."""
        made = self._averaged(call, args, kwargs)
        for _ in range(self.times - 1):
            for name, value in self._entering(made).items():
                args, kwargs = with_argument(name, value, function, args, kwargs)
            made = self._averaged(call, args, kwargs)
        return made

    def _averaged(self, call: Call, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        outputs = [call(block, *args, **kwargs) for block in self.blocks]
        if isinstance(outputs[0], Tensor):
            return torch.stack(outputs).mean(dim=0)
        return tuple(
            _mean([each for each in part if each is not None])
            for part in zip(*outputs, strict=True)
        )

    def _entering(self, made: Any) -> dict[str, Tensor]:
        """The arguments by which what was made enters the blocks again."""
        streams = self.streams
        if isinstance(made, Tensor):
            name = streams.image_in or streams.text_in
            assert name is not None
            return {name: made}
        pairs = ((streams.image_in, streams.image_out), (streams.text_in, streams.text_out))
        return {
            name: made[place]
            for name, place in pairs
            if name is not None and place is not None and made[place] is not None
        }


def _mean(tensors: list[Tensor]) -> Tensor | None:
    return torch.stack(tensors).mean(dim=0) if tensors else None
