"""Train a network on labelled cases, from pre-trained weights or from scratch, and write a model bundle."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimseg.bundle.description import Description
from mimseg.bundle.writer import write_bundle
from mimseg.commands.finetune.data import LabelledData, load_labelled_data
from mimseg.commands.finetune.drawn_images import write_drawn_images
from mimseg.commands.finetune.measure import measure_new_model
from mimseg.commands.finetune.network import (
    PreparedNetwork,
    build_task,
    choose_window,
    prepare_network,
    take_back_balance,
)
from mimseg.commands.finetune.plan import TrainingPlan, as_started
from mimseg.commands.finetune.probe import plan_training
from mimseg.commands.finetune.provisional_model import ProvisionalModel, remove_provisional, unfinished
from mimseg.commands.finetune.record import describe, training_record
from mimseg.commands.finetune.settings import FinetuneSettings
from mimseg.commands.finetune.training_device import choose_device
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.networks.settings import NetworkSettings
from mimseg.training.budget import LoopSettings
from mimseg.training.crops.cache import count_cases
from mimseg.training.loop import Training, make_fabric
from mimseg.training.memory.cost import Cost
from mimseg.training.run_folder import CHECKPOINT, check_run_folder, check_same_settings, write_json
from mimseg.training.start.initial_weights import InitialWeights, read_initial_weights
from mimseg.training.start.known_cases import warn_of_trained, what_start_knows
from mimseg.training.start.transfer import TransferReport
from mimseg.training.validation import score_cases

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Trained:
    """A network after training.

    Attributes:
        network: With the averaged weights that validated best.
        shape: Its settings.
        data: What it was trained on.
        record: Everything that made it, without paths or names.
    """

    network: nn.Module
    shape: NetworkSettings
    data: LabelledData
    record: dict[str, Any]


def finetune(settings: FinetuneSettings, reporter: Reporter) -> Path:
    """Run, resume or finish a fine-tuning.

    Returns:
        The model bundle.

    Raises:
        UserError: The data, the start weights or the settings are not usable.
        Stopped: The user stopped; `--resume` continues.
    """
    trained = train(settings, reporter, provisional=True)
    if trained is not None:
        network, data = trained.network, trained.data
        network.half().float()  # the bundle stores half precision: score exactly what ships
        scores: dict[str, Any] = {}
        if data.validation:
            pieces = pieces_of_model(settings, trained)
            scores = score_cases(
                network, data.validation, data.labels, trained.shape, settings.overlap, reporter, pieces
            )
            scores = {**what_start_knows(trained.record["pretraining"], data.validation), **scores}
        write_model(settings, trained, scores, reporter)
    return settings.output


def train(
    settings: FinetuneSettings,
    reporter: Reporter,
    data: LabelledData | None = None,
    plan: TrainingPlan | None = None,
    provisional: bool = False,
) -> Trained | None:
    """Run, resume or finish the training alone, in the folder `<output>.training`.

    Args:
        settings: All choices.
        reporter: Progress and metrics.
        data: The cases, if they are loaded already.
        plan: Made already, for a training of which several are run; `settings` are as it has them.
        provisional: Keep a model of the best weights so far in that folder while training goes on.

    Returns:
        What was trained; None in all processes but the first.

    Raises:
        UserError, Stopped: As for `finetune`.
    """
    work = training_folder(settings.output)
    check_folders(settings.output, work, settings.resume)
    cost, prepared = None, None
    device = choose_device(settings.device, reporter)
    if settings.resume:
        settings, planned = as_started(settings, work)
        plan = plan or planned
    main = make_fabric(device, "32-true", settings.devices, settings.nodes)
    if not main.is_global_zero:
        reporter = Reporter()
    asked = settings.network if settings.network_asked else None
    initial = read_initial_weights(settings.initial, asked) if settings.initial else None
    if data is None:
        data = load_labelled_data(settings, initial, reporter)
        warn_of_trained(initial, data.validation, reporter)
    if not settings.resume and plan is None:
        plan, cost, prepared = plan_training(settings, initial, data, device)
        settings = replace(settings, batch=plan.batch, window=plan.window)
    run = _Run(settings, initial, data, work, reporter, plan, provisional)
    run.begin(prepared, cost, device)
    training = run.build()
    if not settings.finish:
        training.run()
    if not main.is_global_zero:
        return None
    network, state = training.network, training.state
    record = run.record(run.shape)
    record["finetuning"].update(steps=state.step, seconds=round(state.seconds, 1))
    network.load_state_dict(training.best_weights())
    network.eval()
    if settings.balance:
        share = take_back_balance(network, run.shape, settings, data, reporter)
        record["finetuning"]["balance_taken_back"] = share
    return Trained(network, run.shape, data, record)


class _Run:
    """Builds the training of a fine-tuning, and knows what made its model."""

    def __init__(
        self,
        settings: FinetuneSettings,
        initial: InitialWeights | None,
        data: LabelledData,
        work: Path,
        reporter: Reporter,
        plan: TrainingPlan | None,
        provisional: bool,
    ) -> None:
        self._settings, self._initial, self._data, self._work = settings, initial, data, work
        self._reporter, self._plan, self._provisional = reporter, plan, provisional
        self._report: TransferReport | None = None
        self._budget = asdict(settings.budget)

    @property
    def shape(self) -> NetworkSettings:
        """Of the network that is trained."""
        return self._prepared.shape

    def begin(self, prepared: PreparedNetwork | None, cost: Cost | None, device: str) -> None:
        """Build the network unless it is prepared, announce the run, and write or check its settings."""
        # The network is built before anything is written: it may not fit the start weights.
        self._prepared = prepared or self._prepare(device)
        self._report = self._prepared.report
        self._announce(self._prepared, cost)
        recorded = training_record(self._settings, self._prepared.shape, self._data)
        if self._settings.resume:
            started = check_same_settings(self._work, recorded)
            # Finishing has none of its own.
            self._budget = started["budget"] if self._settings.finish else self._budget
        elif self._prepared.fabric.is_global_zero:
            self._work.mkdir(parents=True, exist_ok=True)
            plan = {"plan": self._plan.to_json()} if self._plan else {}
            write_json(self._work / "settings.json", {**recorded, **plan})
            if cost is not None:
                write_json(self._work / "cost.json", cost.to_json())
            write_json(self._work / "transfer.json", self._report.to_json() if self._report else None)
            self._show_drawn_images(self._prepared.shape.window)

    def _show_drawn_images(self, window: tuple[int, int, int]) -> None:
        path = self._settings.drawn_images or self._work / "drawn.png"
        if write_drawn_images(path, self._data.training, window, self._settings.augmentation, self._settings.seed):
            self._reporter.info(f"Some of the images that are drawn: {path}")

    def build(self) -> Training:
        """The training, from its checkpoint if it is resumed."""
        settings, prepared = self._settings, self._prepared
        validations = settings.validations if self._data.validation else 0
        loop = LoopSettings(settings.budget, settings.schedule, validations, seed=settings.seed)
        follow = None
        if self._provisional and not settings.finish:
            shape = prepared.shape
            follow = ProvisionalModel(self._work, lambda scores: self._unfinished(shape, scores), self._reporter)
        task = build_task(settings, self._data, prepared)
        return Training(prepared.fabric, task, loop, self._work, self._reporter, settings.resume, follow)

    def record(self, shape: NetworkSettings) -> dict[str, Any]:
        """Everything that makes this model."""
        return {
            "finetuning": {**training_record(self._settings, shape, self._data), "budget": self._budget},
            "pretraining": self._initial.provenance if self._initial else None,
            "transfer": self._report.to_json() if self._report else None,
        }

    def _prepare(self, device: str) -> PreparedNetwork:
        settings, plan = self._settings, self._plan
        if settings.finish:
            settings = replace(settings, precision="32-true")
        elif settings.precision == "auto" and plan is not None and plan.device.split(":")[0] == device:
            settings = replace(settings, precision=plan.precision)
        fabric = make_fabric(device, "32-true", settings.devices, settings.nodes)
        window = choose_window(settings, self._initial, self._data, fabric.device.type)
        automatic = self._settings.precision == "auto"
        return prepare_network(settings, self._initial, self._data, window, fabric, device, automatic)

    def _unfinished(self, shape: NetworkSettings, scores: dict[str, Any]) -> Description:
        description = describe(self._settings, shape, self._data, scores, self.record(shape))
        return replace(description, **unfinished(description, scores))

    def _announce(self, prepared: PreparedNetwork, cost: Cost | None) -> None:
        settings, shape, plan = self._settings, prepared.shape, self._plan
        costs = {"cost": {**cost.to_json(), **cost.expectation(settings.budget)}} if cost else {}
        self._reporter.start(
            "finetune",
            device=str(prepared.fabric.device),
            processes=prepared.fabric.world_size,
            precision=prepared.precision,
            cases=count_cases(self._data.training),
            validation_cases=count_cases(self._data.validation),
            structures=[label.name for label in self._data.labels],
            window=list(shape.window),
            network=shape.name,
            patch_size=shape.divisor,
            **costs,
            **({"plan": plan.to_json()} if plan else {}),
        )
        if plan and not settings.resume:
            self._reporter.info(plan.in_words())
        if cost:
            self._reporter.info(cost.in_words(settings.budget, str(prepared.fabric.device)))
        self._reporter.info(self._report.summary() if self._report else "Starting from random weights.")
        if self._report and settings.layer_decay < 1 and not shape.depth:
            self._reporter.info(f"Layer-wise learning rates do not apply to {shape.title}: all of it learns alike.")


def pieces_of_model(settings: FinetuneSettings, trained: Trained) -> list[list[int]]:
    """Groups of classes of which `segment` keeps the main piece with this model; scores are of what it keeps."""
    return describe(settings, trained.shape, trained.data, {}, trained.record).pieces


def write_model(
    settings: FinetuneSettings, trained: Trained, scores: dict[str, Any], reporter: Reporter, **more: str
) -> None:
    """Write the bundle of a trained network, measure and report it; the provisional one is removed.

    Args:
        settings: All choices.
        trained: The network.
        scores: What it scored; may be empty.
        reporter: Gets the result.
        more: Further outputs to name there.
    """
    description = describe(settings, trained.shape, trained.data, scores, trained.record)
    bundle = write_bundle(settings.output, trained.network.cpu(), description)
    remove_provisional(training_folder(settings.output))
    if settings.measure:
        measure_new_model(bundle, settings, trained.data, reporter)
    dice = scores.get("summary", {}).get("mean_dice")
    steps = trained.record["finetuning"]["steps"]
    reporter.result(model=str(settings.output), validation_dice=dice, steps=steps, **more)


def training_folder(output: Path) -> Path:
    """Where the training of a model works."""
    return output.with_name(output.name + ".training")


def check_folders(output: Path, work: Path, resume: bool, needed: str = CHECKPOINT) -> None:
    """Refuse to overwrite a model or an unfinished training, and to resume what is not there; changes nothing.

    Args:
        output: Folder of the model.
        work: Folder of the training.
        resume: Whether it goes on.
        needed: File in `work` without which it cannot.

    Raises:
        UserError: One of these.
    """
    if output.exists() and any(output.iterdir() if output.is_dir() else [output]):
        raise UserError(f"{output} exists already.", "Choose another name for the model.", code="output-exists")
    check_run_folder(work, resume, needed)
