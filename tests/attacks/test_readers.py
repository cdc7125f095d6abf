"""Whatever a file holds, it is read, or refused in words that name it, in little time and memory.

HYPOTHESIS_PROFILE=thorough tries many more files than a test run does.
"""

import resource
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lokr_weighting.errors import LokrWeightingError
from tests.attacks.mutations import changed_bytes, changed_json
from tests.attacks.readers import READERS, Reader

SECONDS, MEMORY = 20, 2 << 30
EVERY = pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.file)
IN_JSON = [reader for reader in READERS if reader.file.endswith((".json", ".jsonl"))]
Place = tuple[Path, bytes]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Reader], Place]:
    """A good file of each kind: where it is, and what it holds."""
    made: dict[str, Place] = {}

    def place(reader: Reader) -> Place:
        if reader.file not in made:
            file = tmp_path_factory.mktemp("good") / reader.file
            file.parent.mkdir(parents=True, exist_ok=True)
            reader.make(file)
            # what takes long the first time: imports, and what is kept
            reader.use(reader.read(file))
            made[reader.file] = file, file.read_bytes()
        file, good = made[reader.file]
        file.write_bytes(good)
        return file, good

    return place


@contextmanager
def bounded() -> Iterator[None]:
    """No more time and memory than anybody would grant a file."""

    def late(*_: object) -> None:
        raise TimeoutError(f"not done after {SECONDS} seconds")

    before, limits = signal.signal(signal.SIGALRM, late), resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limits[1]))
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def holds(reader: Reader, file: Path, data: bytes, use: bool = True) -> None:
    """The promise, for one file."""
    file.write_bytes(data)
    with bounded():
        try:
            read = reader.read(file)
        except LokrWeightingError as error:
            said = str(error)
            assert file.name in said or str(file.parent) in said or str(file.parents[1]) in said
            assert len(said) < 3000
            return
        try:
            if use:
                reader.use(read)
        except LokrWeightingError as error:
            assert len(str(error)) < 3000


def tried(reader: Reader) -> settings:
    """Fewer examples of what takes long."""
    usual = settings().max_examples // 5
    return settings(
        max_examples=max(3, usual // reader.cost),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def try_all(reader: Reader, file: Path, strategy: st.SearchStrategy[bytes]) -> None:
    @tried(reader)
    @given(strategy)
    def every(data: Any) -> None:
        holds(reader, file, data)

    every()


@EVERY
def test_any_bytes_are_read_or_refused_by_name(
    reader: Reader, places: Callable[[Reader], Place]
) -> None:
    file, _ = places(reader)
    try_all(reader, file, st.binary(max_size=200))


@EVERY
def test_a_damaged_file_is_read_or_refused_by_name(
    reader: Reader, places: Callable[[Reader], Place]
) -> None:
    file, good = places(reader)
    try_all(reader, file, changed_bytes(good))


@pytest.mark.parametrize("reader", IN_JSON, ids=lambda reader: reader.file)
def test_json_of_another_shape_is_read_or_refused_by_name(
    reader: Reader, places: Callable[[Reader], Place]
) -> None:
    file, good = places(reader)
    try_all(reader, file, changed_json(good))
