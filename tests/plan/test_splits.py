import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lycoris.modules.lokr import LokrModule
from peft.tuners.lokr.layer import factorization as peft_factorization

from lokr_weighting.plan.splits import Split, factor_ranges, largest_factor, split_of

sides = st.integers(1, 96) | st.sampled_from([192, 640, 1536, 2432, 3072, 4864, 9728, 14592])


@given(sides, sides, st.data())
def test_split_and_parameters_are_those_of_the_real_module(
    out_features: int, in_features: int, data: st.DataObject
) -> None:
    factor = data.draw(st.integers(1, largest_factor(out_features, in_features)))
    with torch.device("meta"):
        linear = torch.nn.Linear(in_features, out_features, bias=False)
        module = LokrModule("m", linear, 1.0, 1_000_000, 1, factor=factor, full_matrix=True)
    split = split_of(out_features, in_features, factor)
    assert (tuple(module.lokr_w1.shape), tuple(module.lokr_w2.shape)) == split.shapes
    assert split.parameters == sum(p.numel() for p in module.parameters())


@given(sides, sides, st.sampled_from([(1,), (3,), (3, 3), (3, 1), (1, 3, 3)]), st.data())
def test_a_convolutions_tensors_are_those_of_the_real_module(
    out_channels: int, in_channels: int, kernel: tuple[int, ...], data: st.DataObject
) -> None:
    """Grouped or not: the weight has the input channels of one group."""
    groups = data.draw(st.sampled_from([x for x in (1, 2, 5) if out_channels % x == 0]))
    factor = data.draw(st.integers(1, largest_factor(out_channels, in_channels)))
    of_kind = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[len(kernel)]
    with torch.device("meta"):
        convolution = of_kind(groups * in_channels, out_channels, kernel, groups=groups)
        module = LokrModule("m", convolution, 1.0, 1_000_000, 1, factor=factor, full_matrix=True)
    split = split_of(out_channels, in_channels, factor)
    made = (tuple(module.lokr_w1.shape), tuple(module.lokr_w2.shape))
    assert made == split.shapes_with(kernel)
    assert split.parameters_with(kernel) == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("kernel", [(), (3,), (3, 3), (1, 3, 3)])
@pytest.mark.parametrize("channels", [(24, 1), (12, 24), (60, 36)])
def test_lycoris_knows_every_split_again_from_its_tensors(
    channels: tuple[int, int], kernel: tuple[int, ...]
) -> None:
    """What SimpleTuner and others load: a depthwise convolution's too."""
    out_channels, in_channels = channels
    of_kind = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}
    for each in factor_ranges(out_channels, in_channels):
        w1, w2 = (torch.randn(shape) for shape in each.split.shapes_with(kernel))
        module = torch.nn.Linear(in_channels, out_channels)
        if kernel:
            module = of_kind[len(kernel)](in_channels, out_channels, kernel)
        rest = (None, None, w2, None, None, None, None, torch.tensor(1.0), None)
        with torch.no_grad():
            again = LokrModule.make_module_from_state_dict("m", module, w1, *rest)
        assert torch.equal(again.lokr_w1, w1)
        assert torch.equal(again.lokr_w2, w2)


@given(sides, sides, st.data())
def test_peft_splits_the_same_way_up_to_the_largest_factor(
    out_features: int, in_features: int, data: st.DataObject
) -> None:
    factor = data.draw(st.integers(1, largest_factor(out_features, in_features)))
    peft = (*peft_factorization(out_features, factor), *peft_factorization(in_features, factor))
    assert split_of(out_features, in_features, factor) == peft


@given(sides, sides)
def test_ranges_cover_every_factor_once_with_falling_parameters(
    out_features: int, in_features: int
) -> None:
    ranges = factor_ranges(out_features, in_features)
    covered = [factor for r in ranges for factor in range(r.low, r.high + 1)]
    assert covered == list(range(1, largest_factor(out_features, in_features) + 1))
    costs = [r.split.parameters for r in ranges]
    assert costs == sorted(costs, reverse=True)
    assert all(split_of(out_features, in_features, r.high) == r.split for r in ranges)


def test_width_2432_knows_only_eight_splits() -> None:
    """The facts of SD3.5-Large: 2432 = 2^7 * 19."""
    assert [(r.low, r.high) for r in factor_ranges(2432, 2432)] == [
        (1, 1),
        (2, 3),
        (4, 7),
        (8, 15),
        (16, 18),
        (19, 31),
        (32, 37),
        (38, 49),
    ]


def test_labels_name_both_sides_only_where_they_differ() -> None:
    assert split_of(2432, 2432, 11).label == "8"
    assert split_of(14592, 2432, 6).label == "6x4"
    assert Split(8, 304, 8, 304).parameters == 8 * 8 + 304 * 304


@pytest.mark.parametrize("factor", [0, 50])
def test_a_factor_that_loaders_misread_is_refused(factor: int) -> None:
    with pytest.raises(ValueError, match="1 to 49 can be used"):
        split_of(2432, 2432, factor)
