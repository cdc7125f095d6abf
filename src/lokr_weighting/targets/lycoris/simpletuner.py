"""What SimpleTuner does to a LyCORIS configuration before LyCORIS sees it."""

from lokr_weighting.targets.lycoris.config import LycorisConfig

NEEDED = ("algo", "multiplier", "linear_alpha")
CUT = ("multiplier", "linear_dim", "linear_alpha")


def simpletuner_changes(config: LycorisConfig) -> dict[str, str]:
    """Keys that SimpleTuner refuses to miss, and values that it cuts -> why.

    It asks for a few keys and takes the integer part of three numbers.
    """
    written = config.written()
    needed = NEEDED if written.get("full_matrix") is True else (*NEEDED, "linear_dim")
    found = {
        key: "SimpleTuner refuses a configuration without it"
        for key in needed
        if key not in written
    }
    for key in CUT:
        value = written.get(key, 1)
        if value is None:
            found[key] = "SimpleTuner refuses null here"
        elif int(value) != value:
            nothing = (
                "; nothing would be trained" if key == "multiplier" and int(value) == 0 else ""
            )
            found[key] = f"SimpleTuner cuts {value:g} to {int(value)}{nothing}"
    return found
