"""A preset's regular expressions, tried before anything waits for them: some never end."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.targets.lycoris.config import Preset

SECONDS = 10.0
"""What all patterns may take on all of a model's names; ordinary ones take hundredths."""
MOST_PATTERNS = 20_000
"""A pattern for every module of the largest known models takes a tenth of that."""
REPEATING = re.compile(r"[*+?{|]")
"""Without one of these a regular expression ends at once."""
TRY = """
import json, re, sys
patterns, names = json.load(sys.stdin)
for pattern in patterns:
    print(json.dumps(pattern), flush=True)
    match = re.compile(pattern).match
    for name in names:
        match(name)
"""


def check_patterns(preset: Preset, names: Iterable[str]) -> None:
    """Refuse regular expressions that do not compile or never end.

    Those that could run long are tried in a process of their own, which can be stopped.

    Args:
        preset: the preset; patterns of fnmatch always end.
        names: the model's names.

    Raises:
        LokrWeightingError: names the key and the pattern; or there are too many.
    """
    keys = _keys(preset)
    if len(keys) > MOST_PATTERNS:
        raise LokrWeightingError(
            f"apply_preset: has {len(keys):,} patterns; at most {MOST_PATTERNS:,} are tried on a "
            "model's names"
        )
    if preset.use_fnmatch:
        return
    for pattern, key in keys.items():
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise LokrWeightingError(
                f"apply_preset.{key}: {_short(pattern)} is no regular expression ({error}); for "
                'patterns like transformer_blocks.*.attn write "use_fnmatch": true'
            ) from None
    long = [pattern for pattern in keys if REPEATING.search(pattern)]
    if not long:
        return
    try:
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", TRY],
            input=json.dumps([long, list(names)]),
            timeout=SECONDS,
            capture_output=True,
            text=True,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        pattern = _last(error.stdout) or long[0]
        raise LokrWeightingError(
            f"apply_preset.{keys[pattern]}: {_short(pattern)} takes more than {SECONDS:g} seconds "
            "on this model's names, and a trainer would wait as long; write it without a "
            'repetition of a repetition, or as a pattern with "use_fnmatch": true'
        ) from None


def _keys(preset: Preset) -> dict[str, str]:
    """Each pattern -> the first key that it stands in."""
    keys: dict[str, str] = {}
    for key in ("exclude_name", "name_algo_map", "target_name"):
        for pattern in getattr(preset, key):
            keys.setdefault(pattern, key)
    return keys


def _last(output: Any) -> str | None:
    """The pattern that was being tried."""
    text = output.decode() if isinstance(output, bytes) else output or ""
    lines = text.splitlines()
    return json.loads(lines[-1]) if lines else None


def _short(pattern: str, width: int = 80) -> str:
    shown = repr(pattern)
    return shown if len(shown) <= width else f"{shown[: width - 3]}..."
