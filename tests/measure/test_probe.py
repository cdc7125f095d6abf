import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import SD3Transformer2DModel
from diffusers.hooks._helpers import TransformerBlockRegistry
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from lokr_weighting import LokrWeightingError, Probe, register_family
from lokr_weighting.measure.compared_tokens import COMPARED
from lokr_weighting.models import table
from lokr_weighting.models.blocks import blocks_of
from lokr_weighting.models.family import BlockList, Family, Streams
from tests.measure.test_angles import reference
from tests.tiny_models import model_and_inputs, run_with_hook

KINDS = ("sd3", "sd3.5-medium", "flux", "auraflow")
REGISTERS = 8  # tokens that AuraFlow puts in front of the text


def streams_by_hand(
    model: nn.Module, inputs: dict[str, Any], text_tokens: int
) -> list[tuple[Tensor, Tensor | None]]:
    """Token distances of each block and stream in float64, from plain hooks on the blocks."""
    found: list[tuple[Tensor, Tensor | None]] = []

    def hook(_module: nn.Module, _args: Any, kwargs: dict[str, Any], output: Any) -> None:
        if isinstance(output, Tensor):  # [text, image] in one
            both = reference(kwargs["hidden_states"], output)
            found.append((both[:, text_tokens:], both[:, :text_tokens]))
            return
        text, image = output
        text_distance = None
        if text is not None:
            text_distance = reference(kwargs["encoder_hidden_states"], text)
        found.append((reference(kwargs["hidden_states"], image), text_distance))

    run_with_hook(model, inputs, hook)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_distances_are_those_of_a_float64_reference(kind: str) -> None:
    model, inputs = model_and_inputs(kind)
    text_tokens = inputs["encoder_hidden_states"].shape[1] + (
        REGISTERS if kind == "auraflow" else 0
    )
    expected = streams_by_hand(model, inputs, text_tokens)
    with Probe(model) as probe, torch.no_grad():
        model(**inputs)
        found = probe.take()
    assert found.image.shape == (2, len(expected))
    for i, (image, text) in enumerate(expected):
        assert abs(found.image[:, i] - image.mean(-1).numpy()).max() < 1e-5
        assert abs(found.image_last[:, i] - image[:, -1].numpy()).max() < 1e-5
        assert found.has_text[i] == (text is not None)
        if text is not None:
            assert abs(found.text[:, i] - text.mean(-1).numpy()).max() < 1e-5
            assert abs(found.text_last[:, i] - text[:, -1].numpy()).max() < 1e-5
    assert not found.not_finite.any()


def test_only_sd3s_last_block_hands_no_text_on() -> None:
    for kind in KINDS:
        model, inputs = model_and_inputs(kind)
        with Probe(model) as probe, torch.no_grad():
            model(**inputs)
            has_text = probe.take().has_text.tolist()
        assert has_text[:-1] == [True] * (len(has_text) - 1)
        assert has_text[-1] is not kind.startswith("sd3")


def test_the_last_token_is_the_studys_measure() -> None:
    """Its function, applied to the hidden states that went in and came out of each block."""
    model, inputs = model_and_inputs("sd3")
    states: list[Tensor] = []

    def hook(_module: nn.Module, _args: Any, kwargs: dict[str, Any], output: Any) -> None:
        if not states:
            states.append(kwargs["hidden_states"])
        states.append(output[1])

    handles = [x.module.register_forward_hook(hook, with_kwargs=True) for x in blocks_of(model)]
    with Probe(model) as probe, torch.no_grad():
        model(**inputs)
        found = probe.take()
    for handle in handles:
        handle.remove()
    for i, (before, after) in enumerate(itertools.pairwise(states)):
        cosine = nn.functional.cosine_similarity(before[:, -1, :], after[:, -1, :], dim=-1)
        study = torch.acos(cosine.clamp(-1 + 1e-7, 1 - 1e-7)) / math.pi
        assert abs(found.image_last[:, i] - study.numpy()).max() < math.acos(1 - 1e-7) / math.pi


@pytest.mark.parametrize("kind", ["sd3", "auraflow"])
def test_padding_is_left_out_where_a_mask_is_known(kind: str) -> None:
    model, inputs = model_and_inputs(kind)
    mask = torch.zeros(2, inputs["encoder_hidden_states"].shape[1], dtype=torch.int64)
    mask[0, :3], mask[1, :5] = 1, 1
    front = REGISTERS if kind == "auraflow" else 0
    expected = streams_by_hand(model, inputs, mask.shape[1] + front)
    with Probe(model) as probe, torch.no_grad():
        found = probe.measure(lambda: model(**inputs), text_mask=mask)
    for i, (_, text) in enumerate(expected):
        if text is not None:
            for row, real in enumerate((3, 5)):
                mean = text[row, : front + real].mean().item()
                assert found.text[row, i] == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize("kind", ["flux", "auraflow"])
def test_reference_images_do_not_count(kind: str) -> None:
    model, inputs = model_and_inputs(kind)
    front = REGISTERS if kind == "auraflow" else 0
    expected = streams_by_hand(model, inputs, inputs["encoder_hidden_states"].shape[1] + front)
    with Probe(model) as probe, torch.no_grad():
        found = probe.measure(lambda: model(**inputs), reference_tokens=5)
        all_tokens = probe.measure(lambda: model(**inputs))
    for i, (image, _) in enumerate(expected):
        made = image[:, :-5]
        assert abs(found.image[:, i] - made.mean(-1).numpy()).max() < 1e-5
        assert abs(found.image_last[:, i] - made[:, -1].numpy()).max() < 1e-5
        assert abs(all_tokens.image[:, i] - image.mean(-1).numpy()).max() < 1e-5


def test_a_mask_without_real_tokens_counts_them_all() -> None:
    model, inputs = model_and_inputs("sd3")
    results = []
    for mask in (None, torch.zeros(2, 12)):
        with Probe(model) as probe, torch.no_grad():
            distances = probe.measure(lambda: model(**inputs), text_mask=mask)
            results.append(distances.text[:, :-1])
    assert abs(results[0] - results[1]).max() < 1e-6


def test_bf16_models_are_measured_in_fp32() -> None:
    model, inputs = model_and_inputs("sd3")
    model = model.to(torch.bfloat16)
    inputs = {k: v.to(torch.bfloat16) for k, v in inputs.items()}
    expected = streams_by_hand(model, inputs, 12)
    with Probe(model) as probe, torch.no_grad():
        model(**inputs)
        found = probe.take()
    for i, (image, _) in enumerate(expected):
        assert abs(found.image[:, i] - image.mean(-1).numpy()).max() < 1e-5


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_as_before_afterwards(fails: bool) -> None:
    model, inputs = model_and_inputs("sd3")
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        output = model(**inputs).sample
    broken = inputs | ({"encoder_hidden_states": torch.ones(2, 12, 3)} if fails else {})
    try:
        with Probe(model), torch.no_grad():
            model(**broken)
    except RuntimeError:
        assert fails
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with torch.no_grad():
        assert torch.equal(model(**inputs).sample, output)


def test_the_forward_itself_is_not_changed_by_a_bit() -> None:
    model, inputs = model_and_inputs("flux")
    with torch.no_grad():
        bare = model(**inputs).sample
        with Probe(model, similarity=True):
            assert torch.equal(model(**inputs).sample, bare)


class CountDeviceWaits(TorchDispatchMode):
    """Counts what makes a GPU's caller wait: numbers read back, and copies of results."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default):
            self.reads += 1
        return func(*args, **(kwargs or {}))


def test_no_number_is_read_back_while_the_model_runs() -> None:
    model, inputs = model_and_inputs("sd3")
    with torch.no_grad(), CountDeviceWaits() as bare:
        model(**inputs)
    with Probe(model, similarity=True) as probe, torch.no_grad(), CountDeviceWaits() as probed:
        model(**inputs)
        probe.take()
    assert probed.reads == bare.reads


def peak_bytes(way: Callable[[], object]) -> int:
    """The most bytes that torch's CPU allocator held at one time, beyond those at the start."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        way()
    results: Any = getattr(profiler.profiler, "kineto_results", None)
    changes = [event for event in results.events() if event.name() == "[memory]"]
    changes.sort(key=lambda event: event.start_ns())
    return max(itertools.accumulate(event.nbytes() for event in changes))


@pytest.mark.parametrize("similarity", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_probe_holds_at_most_two_activations_more(dtype: torch.dtype, similarity: bool) -> None:
    torch.manual_seed(0)
    width, tokens, blocks = 256, 1024, 6
    model = SD3Transformer2DModel(
        sample_size=64,
        num_layers=blocks,
        num_attention_heads=4,
        caption_projection_dim=width,
        joint_attention_dim=width,
        pooled_projection_dim=width,
        pos_embed_max_size=32,
    )
    model = nn.Module.to(model, dtype)
    inputs = {
        "hidden_states": torch.randn(1, 16, 64, 64, dtype=dtype),
        "encoder_hidden_states": torch.randn(1, 77, width, dtype=dtype),
        "pooled_projections": torch.randn(1, width, dtype=dtype),
        "timestep": torch.tensor([500.0]),
    }

    def probed() -> None:
        with Probe(model, similarity=similarity) as probe:
            model(**inputs)
            probe.take()

    with torch.no_grad():
        model(**inputs)
        bare = peak_bytes(lambda: model(**inputs))
        more = peak_bytes(probed) - bare
    compared = 2 * blocks * COMPARED * width * 4 if similarity else 0
    assert more <= 2 * tokens * width * dtype.itemsize + compared


def test_positional_arguments_are_found_by_name() -> None:
    """As under gradient checkpointing, where SD3 hands its streams on by position."""
    model, inputs = model_and_inputs("sd3")
    with Probe(model) as probe, torch.no_grad():
        model(**inputs)
        expected = probe.take()
    assert hasattr(model, "enable_gradient_checkpointing")
    model.train()
    model.enable_gradient_checkpointing()  # type: ignore[operator]
    with Probe(model) as probe:
        model(**inputs)
        found = probe.take()
    assert abs(found.image - expected.image).max() < 1e-6


def test_a_block_that_is_not_finite_is_named() -> None:
    model, inputs = model_and_inputs("sd3")
    with torch.no_grad():
        model.get_submodule("transformer_blocks.3.ff.net.2").weight.fill_(torch.inf)  # type: ignore[union-attr]
        with Probe(model) as probe:
            model(**inputs)
            broken = probe.take().not_finite
    assert broken[:, :3].sum() == 0
    assert broken[:, 3:].all()


class Residual(nn.Module):
    """A block of its own kind: image first, text joined behind it."""

    def __init__(self, in_place: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        if self.in_place:
            return x.add_(self.linear(x))
        return x + self.linear(x)


class Custom(nn.Module):
    def __init__(self, in_place: bool = False, runs: int = 3) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Residual(in_place) for _ in range(3)])
        self.runs = runs

    def forward(self, x: Tensor) -> Tensor:
        for layer in list(self.layers)[: self.runs]:
            x = layer(x)
        return x


@pytest.fixture
def custom_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "REGISTERED", [])
    streams = Streams("x", None, None, None)
    register_family(Family("custom", ("Custom",), (BlockList("layers", ("linear*",), streams),)))


@pytest.mark.usefixtures("custom_family")
def test_a_registered_family_is_measured() -> None:
    model, x = Custom(), torch.randn(2, 5, 8)
    with Probe(model) as probe, torch.no_grad():
        model(x)
        found = probe.take()
    assert found.image.shape == (2, 3)
    assert not found.has_text.any()


@pytest.mark.usefixtures("custom_family")
def test_what_cannot_be_measured_is_an_error_that_names_the_block() -> None:
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        with (
            Probe(Custom(in_place=True)) as probe,
            pytest.raises(LokrWeightingError, match=r"layers\.0 changes its input in place"),
        ):
            probe.blocks[0].module(x)
        with Probe(model := Custom(runs=2)) as probe:
            model(x)
            with pytest.raises(LokrWeightingError, match=r"1 of 3 blocks did not run \(layers\.2"):
                probe.take()
        with Probe(model := Custom()) as probe:
            model(x)
            with pytest.raises(LokrWeightingError, match=r"layers\.0 ran twice"):
                model(x)


def test_a_family_can_be_added_from_what_the_error_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "REGISTERED", [])
    with pytest.raises(LokrWeightingError) as error:
        Probe(Custom())
    message = str(error.value)
    assert "layers (3 x Residual)" in message
    row = message.partition("register_family(")[2].removesuffix(")")
    streams = Streams("x", None, None, None)
    register_family(eval(row, {"Family": Family, "BlockList": BlockList, "streams": streams}))
    assert len(Probe(Custom()).blocks) == 3


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_streams_leave_where_diffusers_own_registry_says(kind: str) -> None:
    model, _ = model_and_inputs(kind)
    for block in blocks_of(model):
        known = TransformerBlockRegistry.get(type(block.module))
        assert block.streams.image_out == known.return_hidden_states_index
        assert block.streams.text_out == known.return_encoder_hidden_states_index


@pytest.mark.parametrize(
    ("streams", "says"),
    [
        (Streams("y", None, None, None), r"layers.0 \(Residual\) is called without 'y'; .* has x"),
        (
            Streams("x", None, None, None, joined="text first"),
            "layers.0: no block before it shows how many of its tokens are text",
        ),
    ],
)
def test_a_row_that_is_not_the_models_is_an_error_that_names_the_block(
    streams: Streams, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "REGISTERED", [])
    register_family(Family("custom", ("Custom",), (BlockList("layers", ("linear*",), streams),)))
    with (
        torch.no_grad(),
        Probe(model := Custom()),
        pytest.raises(LokrWeightingError, match=says),
    ):
        model(torch.randn(2, 5, 8))
