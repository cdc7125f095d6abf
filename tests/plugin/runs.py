"""Small SimpleTuner runs on the CPU, configured and started as a user does."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from lokr_weighting.plan import Plan, read_plan

MODULE = "lokr_weighting_simpletuner"
AURAFLOW_TEXT_ENCODER = "terminusresearch/auraflow-v0.3"
FAMILIES: dict[str, dict[str, Any]] = {
    "sd3": {"model_family": "sd3", "model_flavour": "medium"},
    "flux": {"model_family": "flux", "model_flavour": "dev"},
    "auraflow": {"model_family": "auraflow", "model_flavour": "v0.3"},
    "qwen_image": {"model_family": "qwen_image", "model_flavour": "v1.0"},
    "flux2": {
        "model_family": "flux2",
        "model_flavour": "klein-4b",
        "custom_text_encoder_intermediary_layers": "[1, 2, 3]",
    },
    "chroma": {"model_family": "chroma", "model_flavour": "base"},
    "z_image": {"model_family": "z_image", "model_flavour": "base"},
    "wan": {"model_family": "wan", "model_flavour": "t2v-480p-1.3b-2.1"},
    "lumina2": {"model_family": "lumina2", "model_flavour": "2.0"},
    "pixart": {"model_family": "pixart", "model_flavour": "600M-512"},
    "sdxl": {"model_family": "sdxl", "model_flavour": "base-1.0"},
    "sd1x": {"model_family": "sd1x", "model_flavour": "1.5"},
    "kolors": {"model_family": "kolors", "model_flavour": "1.0"},
    "longcat_image": {"model_family": "longcat_image", "model_flavour": "final"},
    "sana": {"model_family": "sana", "model_flavour": "sana1.0-1.6b-1024"},
}
COMMON: dict[str, Any] = {
    "model_type": "lora",
    "lora_type": "lycoris",
    "lycoris_config": "config/lycoris_config.json",
    "data_backend_config": "config/multidatabackend.json",
    "output_dir": "output",
    "cache_dir": "cache",
    "mixed_precision": "bf16",
    "base_model_default_dtype": "bf16",
    "optimizer": "adamw_bf16",
    "learning_rate": 1e-3,
    "lr_scheduler": "constant",
    "lr_warmup_steps": 0,
    "max_train_steps": 2,
    "num_train_epochs": 0,
    "train_batch_size": 2,
    "gradient_checkpointing": False,
    "tokenizer_max_length": 77,
    "seed": 42,
    "resolution": 64,
    "resolution_type": "pixel",
    "minimum_image_size": 0,
    "aspect_bucket_rounding": 2,
    "disable_bucket_pruning": True,
    "vae_batch_size": 1,
    "checkpoint_step_interval": 1000,
    "checkpoints_total_limit": 2,
    "validation_disable": True,
    "validation_prompt_library": False,
    "report_to": "none",
    "use_ema": False,
}
LYCORIS: dict[str, Any] = {
    "algo": "lokr",
    "multiplier": 1,
    "linear_dim": 10000,
    "linear_alpha": 1,
    "factor": 4,
    "full_matrix": True,
}


@dataclass
class Trained:
    """A run's folder, and what the last start in it gave."""

    folder: Path
    code: int = 0
    log: str = ""

    @property
    def output(self) -> Path:
        return self.folder / "output"

    @property
    def adapter(self) -> Path:
        return self.output / "pytorch_lora_weights.safetensors"

    @property
    def plan(self) -> Plan:
        return read_plan(self.output / "lokr_weighting" / "plan.json")

    @property
    def calibrations(self) -> list[Path]:
        return sorted((self.output / "lokr_weighting").glob("calibration-*"))

    @property
    def losses(self) -> list[float]:
        """The loss that the progress bar shows after each step."""
        steps: dict[int, float] = {}
        for part in self.log.split("| ")[1:]:
            if "step_loss=" in part:
                step = int(part.split("/")[0])
                steps[step] = float(part.split("step_loss=")[1].split("]")[0].split(",")[0])
        return [steps[step] for step in sorted(steps)]

    def tensors(self, file: Path | None = None) -> dict[str, torch.Tensor]:
        with safe_open(file or self.adapter, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118

    def metadata(self, file: Path | None = None) -> dict[str, str]:
        with safe_open(file or self.adapter, framework="pt") as opened:
            return opened.metadata()

    @cached_property
    def config_file(self) -> Path:
        return self.folder / "config" / "config.json"

    def configure(self, **changes: Any) -> None:
        """Change the run's configuration."""
        config = json.loads(self.config_file.read_text()) | changes
        config = {key: value for key, value in config.items() if value is not None}
        self.config_file.write_text(json.dumps(config, indent=2))


def prepare(folder: Path, family: str, pipeline: Path, images: Path, **changes: Any) -> Trained:
    """A folder with a run's configuration, as SimpleTuner's own `configure` writes it."""
    run = Trained(folder)
    (folder / "config").mkdir(parents=True)
    run.config_file.write_text(json.dumps(COMMON | FAMILIES[family]))
    run.configure(pretrained_model_name_or_path=str(pipeline), **changes)
    (folder / "config" / "lycoris_config.json").write_text(json.dumps(LYCORIS))
    datasets = [
        {
            "id": "images",
            "type": "local",
            "instance_data_dir": str(images),
            "caption_strategy": "textfile",
            "crop": True,
            "crop_style": "center",
            "crop_aspect": "square",
            "resolution": 64,
            "resolution_type": "pixel",
            "minimum_image_size": 0,
            "metadata_backend": "discovery",
            "cache_dir_vae": "cache/vae",
            "repeats": 2,
        },
        {
            "id": "text-embeds",
            "type": "local",
            "dataset_type": "text_embeds",
            "default": True,
            "cache_dir": "cache/text",
        },
    ]
    (folder / "config" / "multidatabackend.json").write_text(json.dumps(datasets))
    if family == "auraflow":
        shutil.copytree(pipeline, folder / AURAFLOW_TEXT_ENCODER)
    return run


def train_py() -> str:
    """SimpleTuner's train.py."""
    spec = find_spec("simpletuner")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "train.py")


def environment(**more: str) -> dict[str, str]:
    """What a run's processes see: a CPU, no network, one thread, the folder's configuration."""
    tests = Path(__file__).parents[2]
    paths = [str(Path(__file__).parent / "cpu"), str(tests), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "CONFIG_BACKEND": "json",
        "CONFIG_PATH": "config/config",
        "SIMPLETUNER_DISABLE_COLORS": "1",
        **more,
    }


def start(
    run: Trained, command: list[str], until: Callable[[str], bool] | None = None, **env: str
) -> Trained:
    """Run a command in the run's folder; with `until`, interrupt it once its log is so."""
    log = run.folder / "log.txt"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=run.folder,
            env=environment(**env),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if until is not None:
            while process.poll() is None and not until(log.read_text(errors="replace")):
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)
        run.code = process.wait(timeout=600)
    run.log = log.read_text(errors="replace")
    return run


def train(run: Trained, *arguments: str, plugin: bool = True, **options: Any) -> Trained:
    """Run train.py, in a process of its own without a launcher."""
    module = ["-m", MODULE] if plugin else []
    return start(run, [sys.executable, *module, train_py(), *arguments], **options)


def told_by(script: str, folder: Path) -> dict[str, Any]:
    """What a script beside this file writes, run in a process of its own."""
    file = folder / "told.json"
    command = [sys.executable, str(Path(__file__).parent / script), str(file)]
    subprocess.run(command, env=environment(), check=True)
    return json.loads(file.read_text())
