"""Gains agree with a slow float64 reference, and leave the model as it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import PartialState

from lokr_weighting import LokrWeightingError, calibrate_folder
from lokr_weighting.data.encoding import Encoder, SampleEncoder
from lokr_weighting.measure.batched import BatchedForward, inputs_of
from lokr_weighting.measure.gradients import gain, gains_of_job, measure_gains
from lokr_weighting.models.blocks import block_linears
from lokr_weighting.models.loading import load_pipeline
from lokr_weighting.plan.splits import factor_ranges, split_of
from tests.inputs import job

CPU = torch.device("cpu")


def reference_gain(one: np.ndarray, other: np.ndarray, split: tuple[int, int, int, int]) -> float:
    """By numpy's SVD of the blocks, one row for each entry of w1, and numpy's own kron."""
    out_l, out_k, in_m, in_n = split

    def best(gradient: np.ndarray) -> np.ndarray:
        rows = [
            gradient[i * out_k : (i + 1) * out_k, j * in_n : (j + 1) * in_n].ravel()
            for i in range(out_l)
            for j in range(in_m)
        ]
        u, s, vt = np.linalg.svd(np.array(rows), full_matrices=False)
        return s[0] * np.kron(u[:, 0].reshape(out_l, in_m), vt[0].reshape(out_k, in_n))

    return float(((best(one) * other).sum() + (best(other) * one).sum()) / 2)


@pytest.mark.slow
def test_every_split_of_every_linear_is_that_of_a_float64_reference(
    pipelines: Callable[[str], Path], images: Path
) -> None:
    prepared = job(pipelines("sd3"), images).prepare(10, CPU)
    measured = gains_of_job(prepared, 40, state=PartialState(cpu=True))
    assert measured.samples == 40

    pipeline = load_pipeline(pipelines("sd3"), torch.float32)
    source = SampleEncoder(Encoder(pipeline, CPU), prepared.images, 64)
    drawn = [source.draw(prepared.job.seed, index, 10) for index in range(40)]
    encoder = source.encoder
    encoder.latents = {key: value.double() for key, value in encoder.latents.items()}
    texts: Any = encoder.embeddings
    encoder.embeddings = {
        caption: {name: value.double() for name, value in values.items()}
        for caption, values in texts.items()
    }
    pipeline.transformer.double()
    forward = BatchedForward(pipeline, CPU)
    weights = {
        linear.name: pipeline.transformer.get_submodule(linear.name).weight
        for linear in block_linears(pipeline.transformer)
    }
    halves: list[dict[str, np.ndarray]] = []
    for half in range(2):
        pipeline.transformer.zero_grad()
        own = [sample for sample in drawn if sample.index // 10 % 2 == half]
        forward.losses([inputs_of(source, each) for each in own]).mean().backward()
        halves.append(
            {
                name: np.zeros(weight.shape) if weight.grad is None else weight.grad.numpy().copy()
                for name, weight in weights.items()
            }
        )
    checked = 0
    for linear in block_linears(pipeline.transformer):
        one, other = (half[linear.name] for half in halves)
        energy = ((one**2).sum() + (other**2).sum()) / 2
        assert measured.energy[linear.name] == pytest.approx(energy, rel=1e-4)
        ranges = factor_ranges(linear.out_features, linear.in_features)
        for each, found in zip(ranges, measured.by_split[linear.name], strict=True):
            expected = reference_gain(one, other, each.split)
            assert found == pytest.approx(expected, rel=1e-4, abs=1e-4 * energy), (linear, each)
            checked += 1
    assert checked > 100


def test_the_finest_split_follows_all_and_a_kronecker_product_all_of_itself() -> None:
    rng = np.random.default_rng(0)
    product = torch.tensor(np.kron(rng.normal(size=(4, 2)), rng.normal(size=(3, 8))))
    other = torch.tensor(rng.normal(size=(12, 16)))
    assert gain(product, other, split_of(12, 16, 1)) == pytest.approx(
        float((product * other).sum())
    )
    split = (4, 3, 2, 8)
    whole = float(product.square().sum())
    assert gain(product, product, type(split_of(12, 16, 1))(*split)) == pytest.approx(whole)
    assert gain(other, other, split_of(12, 16, 3)) < float(other.square().sum())


def test_noise_alone_gains_nothing_on_average() -> None:
    rng = np.random.default_rng(1)
    split = split_of(24, 24, 4)
    found = []
    for _ in range(400):
        one, other = (torch.tensor(rng.normal(size=(24, 24))) for _ in range(2))
        found.append(gain(one, other, split))
    energy = 24 * 24
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 0.01 * energy


def test_the_model_is_left_as_it_was(pipelines: Callable[[str], Path]) -> None:
    transformer = load_pipeline(pipelines("flux"), torch.float32).transformer.train()
    names = [linear.name for linear in block_linears(transformer)]
    wanted = transformer.get_submodule(names[0]).weight.requires_grad_(True)
    frozen = transformer.get_submodule(names[1]).weight.requires_grad_(False)

    def loss(sample: int) -> torch.Tensor:
        if sample == 3:
            raise KeyboardInterrupt
        weights = [transformer.get_submodule(name).weight for name in names]
        return torch.stack([weight.square().sum() for weight in weights]).sum()

    with pytest.raises(KeyboardInterrupt):
        measure_gains(transformer, loss, ([0, 1], [2, 3]))
    assert wanted.requires_grad
    assert not frozen.requires_grad
    assert transformer.training
    assert all(each.grad is None for each in transformer.parameters())
    assert not any(each._post_accumulate_grad_hooks for each in transformer.parameters())


def test_a_loss_that_is_not_finite_is_refused_by_its_sample(
    pipelines: Callable[[str], Path],
) -> None:
    transformer = load_pipeline(pipelines("sd3"), torch.float32).transformer
    with pytest.raises(LokrWeightingError, match="sample 7: the loss is NaN or Inf"):
        measure_gains(transformer, lambda _: torch.tensor(float("nan")), ([7], [8]))


def test_a_quantised_weight_is_refused_by_name(pipelines: Callable[[str], Path]) -> None:
    transformer = load_pipeline(pipelines("sd3"), torch.float32).transformer
    name = block_linears(transformer)[0].name
    module = transformer.get_submodule(name)
    module.weight = torch.nn.Parameter(module.weight.to(torch.int8), requires_grad=False)
    with pytest.raises(LokrWeightingError, match=f"{name}: its weight is quantised"):
        measure_gains(transformer, lambda _: torch.zeros(()), ([0], [1]))


def test_gradients_of_a_transformer_that_is_brought_in_parts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LokrWeightingError, match="gradients need the whole transformer"):
        calibrate_folder(job(tmp_path, tmp_path), tmp_path, gradients=True, offload="group")
