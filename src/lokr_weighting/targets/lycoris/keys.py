"""Keys of a configuration that nothing reads: misspelt, misplaced, or meant for another trainer."""

from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from lokr_weighting.targets.lycoris.config import LycorisConfig, Preset
from lokr_weighting.targets.lycoris.reads import PARAMETER_OF, Reads, installed_reads

ENTRY_NAME = {
    **PARAMETER_OF,
    "linear_dim": "dim",
    "linear_alpha": "alpha",
    "conv_dim": "dim",
    "conv_alpha": "alpha",
}
"""A key at the top -> what it is called inside an entry."""
TOP_NAME = {
    **{entry: top for top, entry in PARAMETER_OF.items()},
    "dim": "linear_dim",
    "alpha": "linear_alpha",
}
"""A key of an entry -> what it is called at the top."""
SIMPLETUNER_OWN = frozenset({"tlora_min_rank", "tlora_alpha"})
"""What SimpleTuner reads and LyCORIS does not; for T-LoRA only."""


def keys_without_effect(config: LycorisConfig, *, in_simpletuner: bool) -> dict[str, str]:
    """The keys that nothing reads.

    Args:
        config: the configuration.
        in_simpletuner: whether SimpleTuner reads it, which has a few keys of its own.

    Returns:
        the key, with the part of the configuration that it is in -> why, and what was meant.
    """
    reads = installed_reads()
    written = config.written()
    preset = written.pop("apply_preset", None) or {}
    entries = _entries(preset)
    used = {config.algo.lower(), *(entry["algo"] for entry in entries if _names(entry, "algo"))}
    found = {}
    for key, value in written.items():
        if key in SIMPLETUNER_OWN and in_simpletuner:
            why = None if "tlora" in used else "SimpleTuner reads it for the algorithm tlora alone"
        else:
            why = _at_the_top(key, value, reads, used)
        if why:
            found[key] = why
    for key in preset:
        if key not in reads.preset:
            where = key.removeprefix("unet_").removeprefix("text_encoder_")
            found[f"apply_preset.{key}"] = f"only kohya's trainer reads it; here it is {where}"
    return found | entries_without_effect(entries, config.algo.lower())


def _at_the_top(key: str, value: Any, reads: Reads, used: set[str]) -> str | None:
    parameter = PARAMETER_OF.get(key, key)
    if key in reads.top:
        if parameter not in reads.of_algorithms or not _says_something(value):
            return None
        if any(parameter in reads.entry(algorithm) for algorithm in used):
            return None
        return f"the algorithm {' or '.join(sorted(used))} does not read it"
    if key in Preset.model_fields:
        return "at the top LyCORIS does not read it; it belongs into apply_preset"
    if meant := TOP_NAME.get(key):
        return f"at the top LyCORIS does not read it; there it is {meant}"
    if key in reads.of_algorithms:
        return "LyCORIS reads it inside an entry of name_algo_map or module_algo_map alone"
    return f"LyCORIS does not read it{_close(key, reads.top)}"


def entries_without_effect(entries: Iterable[dict[str, Any]], algorithm: str) -> dict[str, str]:
    """The keys of entries that nothing reads, each once with how many entries have it -> why.

    Args:
        entries: of `name_algo_map` and `module_algo_map`.
        algorithm: what is meant where an entry names none.
    """
    reads = installed_reads()
    counts: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        of = entry["algo"] if _names(entry, "algo") else algorithm
        known = reads.entry(of)
        for key in entry:
            if key in known:
                continue
            if (meant := ENTRY_NAME.get(key)) in known:
                why = f"inside an entry LyCORIS does not read it; there it is {meant}"
            elif key in reads.of_algorithms:
                why = f"the algorithm {of} does not read it"
            elif key in reads.top:
                why = "LyCORIS reads it at the top alone"
            else:
                why = f"LyCORIS does not read it{_close(key, known)}"
            counts[key, why] += 1
    return {
        f"{key} in {count} {'entry' if count == 1 else 'entries'}": why
        for (key, why), count in counts.items()
    }


def _entries(preset: dict[str, Any]) -> list[dict[str, Any]]:
    maps = (preset.get(name, {}) for name in ("name_algo_map", "module_algo_map"))
    return [entry for each in maps for entry in each.values()]


def _names(entry: dict[str, Any], key: str) -> bool:
    return isinstance(entry.get(key), str)


def _says_something(value: Any) -> bool:
    """Whether a setting is more than the default written out."""
    return bool(value) and str(value).lower() not in ("false", "-1")


def _close(key: str, known: Iterable[str]) -> str:
    close = get_close_matches(key, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
