"""The commands that are disturbed: what each reads, what it is called with, what is compared."""

import importlib
import os
import runpy
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from soak_disturbed import Disturbance, Outcome, command_line, forked

LIBRARIES = (
    "lokr_weighting.cli",
    "torch",
    "accelerate",
    "diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3",
    "lycoris",
    "peft",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "lokr_weighting.measure.calibrate",
    "lokr_weighting.show.report",
    "lokr_weighting.show.plan_tables",
    "lokr_weighting.targets.conversion",
    "lokr_weighting.targets.peft",
    "lokr_weighting.targets.lycoris.readback",
)
NOTES = ("out/notes.txt", "out/.c.json.swp", "out/.c.json.original", "out/c.json.bak")
"""The user's own files, beside what a command writes and named much like it."""
SIMPLETUNER = "simpletuner.helpers.training.trainer"
PLUGIN = "output/lokr_weighting"


@dataclass(frozen=True)
class Command:
    """A command and its room.

    Attributes:
        name: what it is called in the table.
        arguments: of `lokr-weighting`; none for a SimpleTuner run.
        reads: what of the stock is copied into its room.
        deleted: folders of the room that may be deleted.
        share: how often it is disturbed, beside the others.
        area: the folder in which events count; "" the whole room.
        error: how the one line of an error begins.
        whole: whether exit code 0 means that every file is there.
        codes: further exit codes, for a disturbance.
        others: which files are not compared.
        may_trace: whether a traceback is another program's.
        warm: imports what its forks need not import any more, beside `LIBRARIES`.
        cached: what of the stock is copied with the caches that a first run leaves in it.
    """

    name: str
    arguments: tuple[str, ...]
    reads: tuple[str, ...]
    deleted: tuple[str, ...]
    share: int
    area: str = ""
    error: str = "error: "
    whole: bool = True
    codes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    others: Callable[[str], bool] = lambda name: name.startswith("cache/")
    may_trace: Callable[[Disturbance, Outcome], bool] = lambda *_: False
    warm: Callable[[], None] = lambda: None
    cached: str = ""

    def call(self) -> int:
        """Run it in this process, in its room; its exit code."""
        return command_line(*self.arguments) if self.arguments else _train()

    def prepare(self, room: Path, stock: Path) -> None:
        """Put into the room what the command reads, and the user's notes."""
        for name in self.reads:
            source = MADE[name](stock)
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, room / name)
        if not self.area:
            for name in NOTES:
                (room / name).parent.mkdir(exist_ok=True)
                (room / name).write_text("my own")


def warm(libraries: tuple[str, ...] = LIBRARIES) -> None:
    """Import what a fork then has."""
    os.environ["LOKR_WEIGHTING_CACHE"] = "cache"
    os.environ["DIFFUSERS_VERBOSITY"] = "error"
    for name in libraries:
        importlib.import_module(name)


def _images(stock: Path) -> Path:
    """Pictures of noise, with captions."""
    import numpy as np
    from PIL import Image

    folder = stock / "images"
    if not folder.exists():
        folder.mkdir()
        rng = np.random.default_rng(0)
        for number in range(4):
            pixels = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
            (folder / f"{number}.txt").write_text(f"a handwritten {number}")
    return folder


def _written(stock: Path, name: str, *arguments: str) -> Path:
    """What a command, run in the stock's folder, wrote there."""
    if not (stock / name).exists():
        outcome = forked(lambda: command_line(*arguments), stock, None)
        if outcome.code != 0:
            raise SystemExit(outcome.text)
    return stock / name


def _measured(stock: Path) -> Path:
    _images(stock)
    return _written(stock, "measured", *MEASURE, "-o", "measured")


def _lokr(stock: Path) -> Path:
    """A trained LoKr in LyCORIS's format, with random numbers."""
    import torch
    from safetensors.torch import save_file

    from lokr_weighting.plan import read_plan
    from lokr_weighting.plan.file_size import lycoris_key

    if not (stock / "lokr.safetensors").exists():
        _measured(stock)
        _written(stock, "p.json", *PLAN, "--no-read-back", "-o", "p.json")
        plan, generator = read_plan(stock / "p.plan.json"), torch.Generator().manual_seed(0)
        tensors = {}
        for linear in plan.linears:
            for kind, shape in zip(("lokr_w1", "lokr_w2"), linear.split.shapes, strict=True):
                key = f"{lycoris_key(linear.name)}.{kind}"
                tensors[key] = torch.randn(shape, generator=generator)
            tensors[f"{lycoris_key(linear.name)}.alpha"] = torch.tensor(1.0)
        save_file(tensors, stock / "lokr.safetensors")
    return stock / "lokr.safetensors"


def _adapter(stock: Path) -> Path:
    _lokr(stock)
    return _written(stock, "adapter", *TO_PEFT, "-o", "adapter")


def _simpletuner_run(stock: Path) -> Path:
    """A SimpleTuner run's folder on a tiny pipeline, as the tests prepare it."""
    if not (stock / "run").exists():
        from tests import tiny_pipelines
        from tests.plugin.runs import prepare

        pipeline = tiny_pipelines.build("sd3", stock / "pipeline")
        run = prepare(stock / "run", "sd3", pipeline, Path("images"))
        run.configure(lokr_weighting_samples=20, max_train_steps=1)
        shutil.copytree(_images(stock), stock / "run" / "images")
    return stock / "run"


def _warm_simpletuner() -> None:
    """Import SimpleTuner as its own processes do, in a run's environment."""
    root = Path(__file__).parents[1]
    sys.path.insert(0, str(root))
    from tests.plugin.runs import environment

    os.environ.update(environment())
    runpy.run_path(str(root / "tests" / "plugin" / "cpu" / "sitecustomize.py"))
    warm(("torch", "accelerate", "diffusers", "lycoris", "matplotlib.figure", SIMPLETUNER))


def _train() -> int:
    """A run of SimpleTuner with the flag, in its folder."""
    from lokr_weighting_simpletuner.__main__ import main

    os.chdir("run")
    train_py = Path(str(importlib.import_module("simpletuner").__file__)).with_name("train.py")
    sys.argv = ["lokr_weighting_simpletuner", str(train_py)]
    return main()


MADE: dict[str, Callable[[Path], Path]] = {
    "images": _images,
    "measured": _measured,
    "lokr.safetensors": _lokr,
    "adapter": _adapter,
    "run": _simpletuner_run,
}
"""What commands read -> makes it in the stock's folder."""
SAMPLES = ("--model", "digits", "--data", "images", "--samples", "20")
MEASURE = ("calibrate", *SAMPLES, "--similarity")
PLAN = ("plan", "--calibration", "measured", "--model", "digits")
TO_PEFT = ("convert", "lokr.safetensors", "--model", "digits")


COMMANDS = (
    Command(
        "plan-peft",
        (*PLAN, "--target", "peft", "--no-read-back", "-o", "out/adapter"),
        ("measured",),
        ("out", "out/adapter"),
        share=40,
    ),
    Command(
        "convert",
        (*TO_PEFT, "-o", "out/adapter"),
        ("lokr.safetensors",),
        ("out", "out/adapter"),
        share=40,
    ),
    Command(
        "convert-back",
        ("convert", "adapter", "-o", "out/c.safetensors"),
        ("adapter",),
        ("out",),
        share=35,
    ),
    Command("plan", (*PLAN, "-o", "out/c.json"), ("measured",), ("out",), share=25),
    Command(
        "generate",
        ("generate", *SAMPLES, "--similarity", "-o", "out/c.json"),
        ("images",),
        ("out", "out/c.calibration", "cache"),
        share=40,
    ),
    Command(
        "report",
        ("report", "measured", "--model", "digits", "-o", "out/r.html"),
        ("measured",),
        ("out", "out/r.figures"),
        share=10,
    ),
    Command(
        "simpletuner",
        (),
        ("run",),
        (f"run/{PLUGIN}",),
        share=10,
        area=f"run/{PLUGIN}",
        error="lokr-weighting: ",
        whole=False,
        # SimpleTuner ends an interrupted run with 0, and its own errors with 1
        codes={"SIGINT": (0,), "full disk": (1,), "file limit": (1,), "folder deleted": (1,)},
        # SimpleTuner writes lists of its own beside the images
        others=lambda name: (
            name.startswith("run/images/aspect_ratio_")
            or not name.startswith(
                (f"run/{PLUGIN}", "run/images/", "run/config/", "run/output/pytorch_lora_weights")
            )
        ),
        # SimpleTuner's log lies in the room: what is not written there is traced by `logging`
        may_trace=lambda _, outcome: (
            outcome.code in (0, 1) or "--- Logging error ---" in outcome.text
        ),
        warm=_warm_simpletuner,
        cached="run",
    ),
)
"""The shares add up to 200; the cheap ones are disturbed more often."""
