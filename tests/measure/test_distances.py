import numpy as np

from lokr_weighting.measure.distances import Distances, measured_of
from lokr_weighting.records import NotFinite, Record


def distances(
    values: list[list[float]],
    has_text: list[bool] | None = None,
    has_image: list[bool] | None = None,
) -> Distances:
    both = np.array(values, dtype=np.float32)
    known = [np.array(has or [True] * both.shape[1]) for has in (has_image, has_text)]
    image, text = (np.where(has, both, np.nan).astype(np.float32) for has in known)
    return Distances(image, text, image / 2, text / 2, text / 4, *known)


def test_a_forwards_samples_become_records_with_both_token_settings() -> None:
    found = measured_of(
        distances([[0.1, 0.2], [0.3, 0.4]], [True, False]), ("a", "b"), [0.25, 0.75], 4
    )
    assert all(isinstance(each, Record) for each in found)
    assert [each.sample for each in found] == [4, 5]
    record = found[1]
    assert isinstance(record, Record)
    assert (record.timestep, record.hidden_states) == (0.75, [0.3, 0.4])
    assert record.hidden_states_last == [0.15, 0.2]
    assert record.encoder_hidden_states == [0.3]


def test_records_keep_every_bit_of_a_float32() -> None:
    values = np.random.default_rng(0).uniform(size=(1, 500)).astype(np.float32)
    (record,) = measured_of(distances(values.tolist()), ("a",) * 500, [0.5], 0)
    assert isinstance(record, Record)
    again = Record.model_validate_json(record.line)
    assert (np.array(again.hidden_states, dtype=np.float32) == values[0]).all()


def test_a_block_between_others_without_text_is_null() -> None:
    (record,) = measured_of(
        distances([[0.1, 0.2, 0.3, 0.4]], [True, False, True, False]), "abcd", [0.5], 0
    )
    assert isinstance(record, Record)
    assert record.encoder_hidden_states == [0.1, None, 0.3]


def test_a_sample_that_is_not_finite_is_never_averaged_and_named_by_its_first_block() -> None:
    found = measured_of(distances([[0.1, np.nan], [0.1, 0.2]]), ("a", "b"), [0.5, 0.6], 0)
    assert found[0] == NotFinite(sample=0, block="b")
    assert isinstance(found[1], Record)


def test_a_block_of_text_alone_has_null_for_its_image_and_is_no_broken_one() -> None:
    values = [[0.1, 0.2, 0.3, 0.4]]
    has_image, has_text = [True, False, True, False], [False, True, True, True]
    (record,) = measured_of(distances(values, has_text, has_image), "abcd", [0.5], 0)
    assert isinstance(record, Record)
    assert record.hidden_states == [0.1, None, 0.3, None]
    assert record.hidden_states_last == [0.05, None, 0.15, None]
    assert record.encoder_hidden_states == [None, 0.2, 0.3, 0.4]
    broken = distances([[0.1, np.nan, 0.3, 0.4]], has_text, has_image)
    assert measured_of(broken, "abcd", [0.5], 0) == [NotFinite(sample=0, block="b")]
