"""Good files made bad: bytes flipped, cut and put in; JSON of other kinds of values, keys gone."""

import json
from collections.abc import ItemsView
from typing import Any

from hypothesis import strategies as st

DEEP = "[" * 3000 + "]" * 3000
RAW = {"deep": DEEP, "digits": "9" * 5000, "inf": "1e999", "nan": "NaN", "minus": "-Infinity"}
"""What json.dumps would not write: a marker -> what stands there instead."""
ODD = st.one_of(
    st.sampled_from([f"@{marker}@" for marker in RAW]),
    st.sampled_from([None, True, False, 0, -1, 1, 2, 0.5, -0.0, 1e308, -1e308, 5e-324]),
    st.sampled_from([10**7, 10**9, 10**18, 10**30, 10**99, -(10**99)]),
    st.sampled_from(["", "x", "0", "1", "\0", "\ud800", "é" * 9, "n" * 300, "(a+)+$", "../.."]),
    st.sampled_from([[], {}, [[]], [None], {"": {}}, [0] * 50, ["x"], {"x": 1}]),
)


class Doubled(dict):
    """A JSON object with one of its keys twice."""

    def __init__(self, data: dict[str, Any], key: str, value: Any) -> None:
        super().__init__(data)
        self.again = (key, value)

    def items(self) -> Any:
        return [*ItemsView(self), self.again]


def _places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in the data but its own."""
    if isinstance(data, dict):
        inside = list(dict(data).items())
    elif isinstance(data, list):
        inside = list(enumerate(data))
    else:
        return []
    found = []
    for key, value in inside:
        found += [(*path, key), *_places(value, (*path, key))]
    return found


def _changed(data: Any, path: tuple[Any, ...], how: str, value: Any) -> Any:
    if not path:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    key = path[0]
    if len(path) > 1:
        copy[key] = _changed(copy[key], path[1:], how, value)
    elif how == "set":
        copy[key] = value
    elif how == "remove":
        del copy[key]
    elif isinstance(copy, dict):
        return Doubled(copy, key, value) if how == "double" else {**copy, f"{key}_": value}
    else:
        copy.insert(key, value)
    return copy


@st.composite
def changed_json(draw: st.DrawFn, good: bytes) -> bytes:
    """A JSON file, or one line of JSON Lines, with one to three values changed."""
    lines = good.decode().splitlines()
    try:
        json.loads(lines[0])
    except ValueError:
        lines = [good.decode()]
    number = draw(st.integers(0, len(lines) - 1))
    data = json.loads(lines[number])
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([(), *_places(data)]))
        data = _changed(
            data, path, draw(st.sampled_from(["set", "set", "remove", "double", "add"])), draw(ODD)
        )
        if not isinstance(data, dict | list):
            break
    text = json.dumps(data)
    for marker, raw in RAW.items():
        text = text.replace(f'"@{marker}@"', raw)
    lines[number] = text
    if draw(st.booleans()):
        lines = draw(st.permutations(lines)) if len(lines) < 9 else lines
    return "\n".join(lines).encode() + draw(st.sampled_from([b"\n", b""]))


@st.composite
def changed_bytes(draw: st.DrawFn, good: bytes) -> bytes:
    """A file with bytes flipped, cut out, put in, doubled, or its end cut off."""
    data = bytearray(good)
    # a header is where damage tells
    place = st.integers(0, len(data)) | st.integers(0, min(len(data), 200))
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted((min(draw(place), len(data)), min(draw(place), len(data))))
        how = draw(st.sampled_from(["flip", "cut", "end", "insert", "double"]))
        if how == "flip" and start < len(data):
            data[start] ^= draw(st.integers(1, 255))
        elif how == "cut":
            del data[start:end]
        elif how == "end":
            del data[start:]
        elif how == "insert":
            data[start:start] = draw(st.binary(max_size=20))
        elif how == "double":
            data[start:start] = data[start : min(end, start + 1000)]
    return bytes(data)
