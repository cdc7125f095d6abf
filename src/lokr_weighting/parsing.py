"""JSON of a sensible depth and with sensible numbers; what stands in messages of what does not."""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from lokr_weighting.errors import LokrWeightingError

DEEPEST = 64  # levels of JSON
DIGITS = 100  # of a whole number in JSON


def parse_json(text: str, where: str, *, finite: bool = False) -> Any:
    """Parse JSON of a sensible depth and with sensible numbers.

    Args:
        text: the JSON.
        where: what a message begins with.
        finite: refuse NaN and Infinity, which Python reads and JSON does not have.

    Raises:
        LokrWeightingError: it is not; the message begins with `where`.
    """
    try:
        data = json.loads(text, parse_int=_whole_number)
    except json.JSONDecodeError as error:
        raise LokrWeightingError(f"{where}:{error.lineno}: not valid JSON: {error.msg}") from None
    except RecursionError:
        raise LokrWeightingError(f"{where}: {_TOO_DEEP}") from None
    except ValueError as error:
        raise LokrWeightingError(f"{where}: {error}") from None
    level, wrong = [data], False
    for _ in range(DEEPEST):
        wrong = wrong or (finite and any(map(_is_no_number, level)))
        level = [child for each in level for child in _children(each)]
        if not level:
            break
    else:
        raise LokrWeightingError(f"{where}: {_TOO_DEEP}")
    if wrong:
        key, value = next(_no_numbers(data))
        raise LokrWeightingError(f"{where}: {shortened(key)} = {value}: is no finite number")
    return data


_TOO_DEEP = f"JSON nested more than {DEEPEST} levels deep: no file of this kind"


def _whole_number(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"holds a number of {len(digits)} digits; at most {DIGITS} are read")
    return int(digits)


def _is_no_number(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _no_numbers(data: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Every number that is none, and where it stands."""
    if _is_no_number(data):
        yield key or "the whole", data
    elif isinstance(data, dict | list):
        for name, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _no_numbers(value, f"{key}.{name}" if key else str(name))


def _children(data: Any) -> Iterable[Any]:
    if isinstance(data, dict):
        return data.values()
    return data if isinstance(data, list) else ()


def shortened(text: str, width: int = 60) -> str:
    """A text of at most `width` letters, for messages."""
    return text if len(text) <= width else text[: width - 3] + "..."
