"""What happens in a run: settings and refusals at its start, the plan before the adapter."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import check_there
from lokr_weighting.measure.stop import judgements
from lokr_weighting.plan.make import make_plan
from lokr_weighting.plan.plan import Plan, write_plan
from lokr_weighting.plan.settled import Settled
from lokr_weighting.processes import from_main, tried
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.show.console import as_text
from lokr_weighting.show.plan_tables import plan_table
from lokr_weighting.show.report import write_report
from lokr_weighting.targets.lycoris.config import added_by, read_config, write_config
from lokr_weighting.targets.lycoris.network import adapted_tensors
from lokr_weighting.targets.lycoris.template import read_template
from lokr_weighting.targets.registry import LYCORIS, as_planned, listed
from lokr_weighting.targets.tensors import differences_from_plan
from lokr_weighting_simpletuner.log import logger
from lokr_weighting_simpletuner.measuring import calibrate_run
from lokr_weighting_simpletuner.refusals import (
    check_adaptable,
    check_config,
    check_model,
    not_used,
)
from lokr_weighting_simpletuner.resuming import (
    SAVED,
    Checkpoint,
    check_unweighted,
    resumed_from,
)
from lokr_weighting_simpletuner.settings import Settings, read_settings
from lokr_weighting_simpletuner.versions import unexpected

FOLDER = "lokr_weighting"
CONFIG, PLAN, REPORT = "lycoris_config.json", "plan.json", "report.html"


class Run:
    """One run of train.py, from its settings to the adapter that it saves.

    Args:
        arguments: train.py's command line.

    Attributes:
        settings: what the run asks for.
        active: whether its adapter is weighted.
        plan: the plan of the adapter that is trained.
        checkpoint: the checkpoint that it goes on from, instead of a plan.
        interrupted: whether Ctrl-C ended it before its adapter was created.
    """

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self.arguments = arguments
        self.settings = Settings.model_validate({})
        self.active = False
        self.plan: Plan | None = None
        self.checkpoint: Checkpoint | None = None
        self.interrupted = False

    def begin(self, config: Any, accelerator: Any = None) -> None:
        """Read the settings and refuse what cannot be weighted, before any time is spent.

        Args:
            config: SimpleTuner's parsed configuration.
            accelerator: accelerate's, as the run was launched.

        Raises:
            LokrWeightingError: a setting makes no sense, or this run cannot be weighted.
        """
        self.settings = read_settings(config, self.arguments)
        self.active = self.settings.enabled
        if not self.active:
            logger().info(f"lokr_weighting is false: {_what_is_trained(config)}.")
            return
        with self._on_error(config):
            check_config(config, accelerator)
            replaced = not_used(config)
            if replaced is not None:
                logger().warning(replaced)

    def before_adapter(self, trainer: Any) -> None:
        """Set the LyCORIS configuration that SimpleTuner is about to read.

        Raises:
            LokrWeightingError: the blocks could not be measured, or the plan not be made.
        """
        if not self.active:
            check_unweighted(trainer)
            return
        with self._on_error(trainer.config):
            self.checkpoint = resumed_from(trainer)
            if self.checkpoint is None:
                self._plan(trainer)
            else:
                self._go_on(trainer, self.checkpoint)

    def after_adapter(self, trainer: Any) -> None:
        """Read SimpleTuner's network back against the plan.

        Raises:
            LokrWeightingError: a module is not what the plan says.
        """
        if self.plan is None and self.checkpoint is None:
            return
        network = trainer.lycoris_wrapped_network
        if self.checkpoint is not None:
            made = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
            wrong = self.checkpoint.differences(made)
        else:
            assert self.plan is not None
            made = adapted_tensors(network, trainer.model.get_trained_component())
            wrong = differences_from_plan(self.plan, made)
        if wrong:
            raise LokrWeightingError(
                f"SimpleTuner's network is not what was planned, so training is stopped: "
                f"{listed(wrong)}"
            )
        count = sum(parameter.numel() for parameter in network.parameters())
        version = metadata.version("lycoris-lora")
        made_all = as_planned("LyCORIS", version, len(network.loras), count)
        logger().info(f"Read back: in SimpleTuner {made_all}.")
        # SimpleTuner saves this dictionary as the final file's metadata
        trainer.lycoris_config[SAVED] = self.saved()

    def saved(self) -> dict[str, Any]:
        """What saved adapters say of their plan."""
        if self.checkpoint is not None:
            return self.checkpoint.saved
        if self.plan is None:
            return {}
        return {
            "plan": self.plan.identity,
            "measurement": self.plan.measurement.identity,
            "samples": self.plan.measurement.samples,
            "parameters": self.plan.parameters,
            "budget": self.plan.budget,
            "version": metadata.version("lokr-weighting"),
        }

    def saved_metadata(self) -> dict[str, str]:
        """The same as an entry of a safetensors file's metadata."""
        return {SAVED: json.dumps(self.saved())} if self.saved() else {}

    def _plan(self, trainer: Any) -> None:
        config, settings = trainer.config, self.settings
        model = trainer.model.get_trained_component()
        recipe = settings.read_recipe()
        folder = Path(config.output_dir) / FOLDER
        own = Path(config.lycoris_config)
        template = read_template(own)
        check_model(trainer.model)
        check_adaptable(model)
        _announce(trainer, "running", "Measuring the blocks on the run's own images.")
        calibration, settled = calibrate_run(trainer, settings, recipe, folder)
        planned = make_plan(
            calibration,
            model,
            recipe=recipe,
            budget=settings.budget,
            name=str(config.pretrained_model_name_or_path),
            settled=settled,
            added=added_by(template),
        )
        shared = [planned]
        broadcast_object_list(shared)
        plan = shared[0]
        prepared = LYCORIS.prepare(plan, model, template)
        main = trainer.accelerator.is_main_process
        from_main(main, prepared.write, folder / CONFIG)
        from_main(main, write_plan, folder / PLAN, plan)
        from_main(main, check_there, [folder / CONFIG, folder / PLAN])
        for line in as_text(plan_table(plan)).splitlines():
            logger().info(line)
        _announce(
            trainer,
            "completed",
            f"Planned {plan.parameters:,} parameters from {plan.measurement.samples} samples.",
        )
        if main:
            logger().info(f"Drawing {folder / REPORT}, which shows what was measured.")
            # a run need not stop for want of a picture
            report = partial(_report, said=prepared.read_back)
            _, error = tried(report, folder / REPORT, calibration, plan, model, settled)
            if error is not None:
                logger().warning(f"The report could not be written: {error}")
        if settings.measure_only:
            logger().warning(
                "lokr_weighting_measure_only: the run's own LyCORIS configuration is trained; "
                f"the weighted one is {folder / CONFIG}"
            )
            return
        self.plan = plan
        config.lycoris_config = str(folder / CONFIG)
        logger().info(
            f"To resume this run, start it with the same argument; without it SimpleTuner finds "
            f"tensors of other sizes than {own}'s. Or set lycoris_config to "
            f"{folder / CONFIG}, and it resumes without this plugin."
        )

    def _go_on(self, trainer: Any, checkpoint: Checkpoint) -> None:
        """Use the checkpoint's configuration, from a place where it outlives the checkpoint."""
        kept = Path(trainer.config.output_dir) / FOLDER / f"resumed_{CONFIG}"
        lycoris = read_config(checkpoint.config)
        from_main(trainer.accelerator.is_main_process, write_config, kept, lycoris)
        trainer.config.lycoris_config = str(kept)
        logger().info(
            f"Going on from {checkpoint.folder} with its own configuration (plan "
            f"{checkpoint.saved.get('plan')}); nothing is measured."
        )

    @contextmanager
    def _on_error(self, config: Any) -> Iterator[None]:
        """Stop, or say loudly that the run trains its own configuration."""
        try:
            yield
        except KeyboardInterrupt:
            self.interrupted = True
            raise
        except Exception as error:
            own = isinstance(error, LokrWeightingError)
            said = error if own else unexpected(error, "the blocks could not be measured")
            if self.settings.on_error == "stop":
                if own:
                    raise
                raise LokrWeightingError(
                    f"{said}. Nothing was trained. With lokr_weighting_on_error=continue "
                    f"{_what_is_trained(config)}"
                ) from error
            self.active = False
            self.checkpoint = None
            line = "=" * 78
            for text in (line, f"NOT WEIGHTED: {_what_is_trained(config)},"):
                logger().error(text)
            logger().error(f"because {said}", exc_info=not own)
            logger().error(line)


def _what_is_trained(config: Any) -> str:
    """What a run that is not weighted trains, in a sentence."""
    if config.model_type != "lora":
        return f"this run trains with model_type {config.model_type!r} as configured"
    if config.lora_type.lower() != "lycoris":
        return f"this run trains its own LoRA (lora_type {config.lora_type!r})"
    return "this run trains its own LyCORIS configuration"


def _report(
    path: Path,
    calibration: Calibration,
    plan: Plan,
    model: Any,
    settled: Settled | None,
    *,
    said: str | None,
) -> None:
    judged = judgements(calibration, model, plan.recipe, plan.budget, last=settled)
    write_report(path, calibration, plan, model=model, judged=judged, read_back=said)


def _announce(trainer: Any, status: str, message: str) -> None:
    """Tell the log, the web page and the webhooks, as SimpleTuner tells of its own stages."""
    from simpletuner.helpers.webhooks.events import lifecycle_stage_event

    logger().info(message)
    trainer._emit_event(
        lifecycle_stage_event(
            key="lokr_weighting",
            label="LoKr weighting",
            status=status,
            message=message,
            job_id=trainer.job_id,
        )
    )
