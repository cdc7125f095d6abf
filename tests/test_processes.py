"""Processes that act as one, here one alone; two are started by the tests of their commands."""

import pytest
from accelerate import PartialState

from lokr_weighting import LokrWeightingError
from lokr_weighting.processes import from_main, in_order, joined, raise_together, tried


@pytest.fixture(autouse=True)
def alone() -> None:
    PartialState(cpu=True)


def test_what_the_first_process_finds_is_what_all_get() -> None:
    assert from_main(True, lambda a, b: a + b, 2, 3) == 5


def test_an_error_is_heard_of_before_it_is_raised() -> None:
    def fail() -> None:
        raise LokrWeightingError("no")

    result, error = tried(fail)
    assert result is None
    with pytest.raises(LokrWeightingError, match=r"^no$"):
        raise_together(error)
    with pytest.raises(LokrWeightingError, match=r"^no$"):
        from_main(True, fail)
    raise_together(None)


def test_results_are_put_in_the_order_of_their_numbers() -> None:
    assert in_order([(2, "c"), (0, "a"), (1, "b")]) == ["a", "b", "c"]


def test_a_launch_whose_processes_do_not_join_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LokrWeightingError, match="launched as 2 processes, but accelerate joins 1"):
        joined("cpu")
