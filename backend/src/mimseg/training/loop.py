"""The training loop, on Lightning Fabric.

Fabric keeps this loop plain and moves it unchanged to CPU, CUDA, MPS, several processes under torchrun or SLURM.
It was chosen over Hugging Face accelerate because it detects SLURM itself, does not bring huggingface_hub (nothing
here may reach for a network), and its package is a tenth of Lightning's; the affected releases of the `lightning`
package (2.6.2, 2.6.3) are avoided by the version bound and by pinned hashes in requirements/.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mimseg.errors import OutOfMemory, Stopped, UserError
from mimseg.events import Reporter
from mimseg.memory import is_out_of_memory, keep_freed_memory
from mimseg.stopping import requested
from mimseg.training.budget import Budget as Budget
from mimseg.training.budget import LoopSettings, LoopState
from mimseg.training.checkpoints import load_checkpoint, save_checkpoint
from mimseg.training.crops.draw import ahead, seed_for
from mimseg.training.curves import Curves
from mimseg.training.layout import is_channels_last, lay_out
from mimseg.training.memory.ladder import MemoryLadder
from mimseg.training.optimiser.averaging import AveragedWeights
from mimseg.training.optimiser.finite import FiniteSteps
from mimseg.training.optimiser.muon import make_optimizer
from mimseg.training.optimiser.schedule import set_learning_rate, warmup_cosine


def make_fabric(device: str = "auto", precision: str = "32-true", devices: int | None = None, nodes: int = 1) -> Fabric:
    """Fabric for this computer, or for this process of a torchrun or SLURM job.

    Args:
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: A Fabric precision such as `32-true`, `bf16-mixed`, `16-mixed`.
        devices: Processes per node; under torchrun and SLURM taken from the environment.
        nodes: Number of nodes.
    """
    local = os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("SLURM_NTASKS_PER_NODE")
    count = devices or (int(local) if local and local.isdigit() else 1)
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "No CUDA GPU can be used by this PyTorch.", "Use --device cpu, or see `mimseg doctor`.", "no-gpu"
        )
    if device == "mps" and not torch.backends.mps.is_available():
        raise UserError("No Apple GPU can be used by this PyTorch.", "Use --device cpu.", code="no-gpu")
    multiple = count * nodes > 1
    fabric = Fabric(
        accelerator=device,
        devices=count,
        num_nodes=nodes,
        precision=precision,  # type: ignore[arg-type]
        strategy="ddp" if multiple else "auto",
    )
    if multiple:
        fabric.launch()
    return fabric


@dataclass(frozen=True)
class Task:
    """What is trained, and how it is measured.

    Attributes:
        network: Trained in place; its method `after_step(step, done)`, if it has one, is called after each step.
        groups: Parameter groups with `peak_lr`, for `make_optimizer`.
        make_batch: Batch of a step, on the CPU; a pure function of the step.
        compute_loss: Loss of (network, batch).
        validate: Numbers measured on the averaged weights; empty if there is nothing to validate on.
        score: Which of them chooses the best weights.
        higher_is_better: Whether a larger score is better.
        divisible: Whether a batch may be computed in parts, see `MemoryLadder`.
    """

    network: nn.Module
    groups: list[dict]
    make_batch: Callable[[int], Any]
    compute_loss: Callable[[nn.Module, Any], Tensor]
    validate: Callable[[nn.Module, int], dict[str, float]]
    score: str
    higher_is_better: bool
    divisible: bool = True


class Training:
    """One run: trains within a budget and keeps the averaged weights that validate best.

    Args:
        fabric: Where to run.
        task: What to train.
        settings: Budget, seed, schedule.
        folder: Gets `checkpoint.pt`, `log.csv`, `curves.png`.
        reporter: Progress and metrics.
        resume: Continue from `folder/checkpoint.pt`.
        follow: Called after every checkpoint with the training and whether it is being stopped; its time is not
            counted.

    Attributes:
        state: Where the run stands.
    """

    def __init__(
        self,
        fabric: Fabric,
        task: Task,
        settings: LoopSettings,
        folder: Path,
        reporter: Reporter,
        resume: bool,
        follow: Callable[[Training, bool], None] | None = None,
    ) -> None:
        self._fabric, self._task, self._settings, self._reporter = fabric, task, settings, reporter
        self._follow = follow
        self._path = folder / "checkpoint.pt"
        self._validation_seconds = self._trained_seconds = 0.0
        self.state = LoopState()
        self._best: dict[str, Tensor] = {}
        content = load_checkpoint(self._path) if resume else None
        if content is not None:
            lay_out(task.network, content.get("channels_last", False))  # a run goes on as it began
        self._average = AveragedWeights(task.network, settings.schedule.average)
        self._curves = Curves(folder, reporter)
        if content is not None:
            task.network.load_state_dict(content["network"])
            self._average.load(content["average"])
            self.state, self._best = LoopState(**content["state"]), content["best"]
            self._curves.restore(content["curves"])
        half = fabric.strategy.precision.precision == "bf16-mixed"
        dtype = torch.bfloat16 if half else torch.float32
        optimizer = make_optimizer(task.groups, settings.schedule.betas, fabric.device.type, dtype)
        self._module, self._optimizer = fabric.setup(task.network, optimizer)
        self._ladder = MemoryLadder(
            fabric, task.network, task.compute_loss, task.divisible, reporter, self.state.extra.get("memory")
        )
        self._steps = FiniteSteps(fabric, settings.schedule.clip, reporter)
        # Moving-average teachers of pre-training methods follow here.
        self._after_step: Callable[[int, float], None] | None = getattr(task.network, "after_step", None)
        self._average.to(fabric.device)
        if content is not None:
            self._optimizer.load_state_dict(content["optimizer"])
            self._steps.load(content.get("scaler", {}))

    def best_weights(self) -> dict[str, Tensor]:
        """The averaged weights that validated best; the latest ones if nothing was validated."""
        return self._best or self._average.weights()

    @property
    def network(self) -> nn.Module:
        """What is trained, with its latest weights."""
        return self._task.network

    def run(self) -> None:
        """Train until the budget is used up.

        Raises:
            Stopped: The user stopped; a checkpoint was written before.
            UserError: Losses or gradients are no finite numbers any more; an earlier checkpoint stays.
            OutOfMemory: Memory does not suffice on any rung of the ladder; the last whole step is in a checkpoint.
        """
        try:
            self._run()
        except (RuntimeError, MemoryError) as fault:
            if not is_out_of_memory(fault):
                raise
            raise OutOfMemory(
                f"The memory of {self._fabric.device} ran out.", "Use a smaller --window or another --device."
            ) from fault

    def _run(self) -> None:
        keep_freed_memory()
        self._task.network.train()
        # Of a larger budget, less is done: validations of the smaller one must not hold back those that are due.
        self.state.validations = min(self.state.validations, self._planned())
        batches = ahead(self._task.make_batch, self.state.step)
        saved = time.monotonic()
        try:
            if self._validation_is_due():  # a stop left it to this run
                self._examine()
            while (fraction := self._fraction()) < 1.0:
                self._step(batches, fraction)
                self._reporter.progress("train", *self._settings.budget.done(self.state.step, self.state.seconds))
                due = self._validation_is_due()
                stop = self._agreed(float(requested())) > 0
                if due and not stop:
                    self._examine()
                # While steps are left out, the checkpoint from before is worth more.
                late = time.monotonic() - saved > self._settings.checkpoint_seconds and not self._steps.left_out
                if due or stop or late:
                    self._save(final=stop)
                    self._offer(stop)
                    saved = time.monotonic()
                if stop:
                    raise Stopped("Stopped by the user; what was trained is kept.", "Continue with --resume.")
        finally:
            batches.close()
        self._save(final=True)
        lay_out(self._task.network, channels_last=False)

    def _step(self, batches: Iterator[Any], fraction: float) -> None:
        began = time.monotonic()
        batch = next(batches)  # waiting for crops takes time, too
        schedule = self._settings.schedule
        set_learning_rate(self._optimizer, warmup_cosine(fraction, schedule.warmup, schedule.floor))
        # Not from where the last step left torch's generator: a resumed run, or another choice of precision, differs.
        seed = seed_for(self._settings.seed, 6, self.state.step, self._fabric.global_rank)
        try:
            loss = self._ladder.backward(self._module, self._optimizer, self._fabric.to_device(batch), seed)
        except OutOfMemory:
            if self.state.step:
                self._save(final=True)  # weights and optimiser are those of the last whole step
            raise
        self.state.extra["memory"] = self._ladder.taken
        if self._steps.take(self._module, self._optimizer, loss, self.state.step + 1):
            if self._after_step:
                self._after_step(self.state.step + 1, fraction)
            self._average.update(self._task.network)
        self.state.step += 1
        self._curves.loss(self.state.step, loss, self._optimizer.param_groups[-1]["lr"])
        seconds = time.monotonic() - began
        self.state.seconds += seconds
        self._trained_seconds += seconds

    def _validation_is_due(self) -> bool:
        """True at the planned shares of the run, but on the clock not more often than a fifth of it allows."""
        planned = self._planned() > self.state.validations
        on_the_clock = self._settings.budget.steps is None and self._fraction() < 1
        affordable = not on_the_clock or self._trained_seconds >= 4 * self._validation_seconds
        return self._agreed(float(planned and affordable)) > 0

    def _examine(self) -> None:
        """Validate the averaged weights; a stop in the middle leaves this validation to the resumed run."""
        began = time.monotonic()
        planned = self._planned()
        self._task.network.eval()
        try:
            with torch.no_grad(), self._fabric.autocast():
                measured = self._task.validate(self._average.module, self.state.step)
        except Stopped:
            self._save(final=True)
            self._offer(True)
            raise
        self._task.network.train()
        if measured:
            self._curves.add(self.state.step, self.state.seconds, measured)
            value = measured[self._task.score]
            if self._is_better(value):
                self.state.best, self._best = value, self._average.weights()
        self.state.validations = planned
        self._validation_seconds, self._trained_seconds = time.monotonic() - began, 0.0
        self.state.seconds += self._validation_seconds

    def _is_better(self, score: float) -> bool:
        best = self.state.best
        if not math.isfinite(score):
            return False
        return best is None or not math.isfinite(best) or (score > best) == self._task.higher_is_better

    def _offer(self, stopping: bool) -> None:
        if self._follow is not None and self._fabric.is_global_zero:
            self._follow(self, stopping)

    def _save(self, final: bool) -> None:
        if not self._fabric.is_global_zero:
            return
        began = time.monotonic()
        content = {
            "network": self._task.network.state_dict(),
            "average": self._average.state(),
            "optimizer": self._optimizer.state_dict(),
            "state": vars(self.state),
            "best": self._best,
            "curves": self._curves.state(),
            "scaler": self._steps.state(),
            "channels_last": is_channels_last(self._task.network),
        }
        save_checkpoint(self._path, content)
        self._curves.write(final)
        self.state.seconds += time.monotonic() - began

    def _fraction(self) -> float:
        return self._agreed(self._settings.budget.fraction(self.state.step, self.state.seconds))

    def _planned(self) -> int:
        """How many validations belong to what is done of the budget."""
        return int(self._fraction() * self._settings.validations + 1e-9)

    def _agreed(self, value: float) -> float:
        """The value of the first process: all must take the same decision."""
        return float(self._fabric.broadcast(value)) if self._fabric.world_size > 1 else value
