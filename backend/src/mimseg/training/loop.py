"""The training loop, on Lightning Fabric.

Fabric keeps this loop plain and moves it unchanged to CPU, CUDA, MPS, several processes under torchrun or SLURM.
It was chosen over Hugging Face accelerate because it detects SLURM itself, does not bring huggingface_hub (nothing
here may reach for a network), and its package is a tenth of Lightning's; the affected releases of the `lightning`
package (2.6.2, 2.6.3) are avoided by the version bound and by pinned hashes in requirements/.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mimseg.errors import Stopped, UserError
from mimseg.events import Reporter
from mimseg.stopping import requested
from mimseg.training.checkpoints import load_checkpoint, save_checkpoint
from mimseg.training.crops import ahead
from mimseg.training.curves import Curves
from mimseg.training.schedule import moving_average, set_learning_rate, warmup_cosine


@dataclass(frozen=True)
class Budget:
    """How long to train: either a number of steps, or minutes of training time (schedules follow the clock)."""

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise UserError("Give either --steps or --minutes.", "For example --minutes 30.", code="bad-usage")
        if (self.steps or 0) < 0 or (self.minutes or 0) < 0 or (self.steps == 0 or self.minutes == 0):
            raise UserError("--steps and --minutes must be larger than 0.", "For example --minutes 30.", "bad-usage")

    def fraction(self, step: int, seconds: float) -> float:
        """Finished share of the run, 0..1."""
        done = step / self.steps if self.steps else seconds / 60 / (self.minutes or 1)
        return min(done, 1.0)


@dataclass(frozen=True)
class LoopSettings:
    """What the loop itself needs to know.

    Attributes:
        budget: How long.
        seed: Decides crops, masks, augmentation and random starts.
        warmup: Share of the run with rising learning rate.
        clip: Largest norm of the gradient.
        average: Decay of the moving average of the weights.
        validations: How often to validate over the whole run.
        checkpoint_seconds: Most seconds of work that a kill can cost.
    """

    budget: Budget
    seed: int = 0
    warmup: float = 0.1
    clip: float = 1.0
    average: float = 0.99
    validations: int = 10
    checkpoint_seconds: float = 60.0


@dataclass
class LoopState:
    """Where a run stands; part of the checkpoint."""

    step: int = 0
    seconds: float = 0.0
    validations: int = 0
    best: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)


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


def train(
    fabric: Fabric,
    network: nn.Module,
    groups: list[dict],
    settings: LoopSettings,
    folder: Path,
    make_batch: Callable[[int], Any],
    compute_loss: Callable[[nn.Module, Any, int], Tensor],
    validate: Callable[[nn.Module, int], dict[str, float]],
    score: str,
    higher_is_better: bool,
    reporter: Reporter,
    resume: bool,
    betas: tuple[float, float] = (0.9, 0.98),
) -> tuple[dict[str, Tensor], LoopState]:
    """Train `network` within the budget; keeps the weights that validate best.

    Args:
        fabric: Where to run.
        network: Trained in place.
        groups: Parameter groups with `peak_lr`, for AdamW.
        settings: Budget, seed, schedule.
        folder: Gets `checkpoint.pt`, `log.csv`, `curves.png`.
        make_batch: Batch of a step, on the CPU; a pure function of the step.
        compute_loss: Loss of (network, batch, step).
        validate: Numbers measured on the averaged weights; empty if there is nothing to validate on.
        score: Which of them chooses the best weights.
        higher_is_better: Whether a larger score is better.
        reporter: Progress and metrics.
        resume: Continue from `folder/checkpoint.pt`.
        betas: AdamW's.

    Returns:
        The best averaged weights by name (the last ones if nothing was validated), and the final state.

    Raises:
        Stopped: The user stopped; a checkpoint was written before.
    """
    optimizer = torch.optim.AdamW(groups, betas=betas)
    state, average, best = LoopState(), _Average(network, settings.average), {}
    path = folder / "checkpoint.pt"
    curves = Curves(folder, reporter if fabric.is_global_zero else Reporter())
    if resume:
        content = load_checkpoint(path)
        network.load_state_dict(content["network"])
        average.load(content["average"])
        state, best = LoopState(**content["state"]), content["best"]
        curves.restore(content["curves"])
    module, optimizer = fabric.setup(network, optimizer)
    average.to(fabric.device)
    if resume:
        optimizer.load_state_dict(content["optimizer"])

    def save() -> None:
        if fabric.is_global_zero:
            content = {
                "network": network.state_dict(),
                "average": average.state(),
                "optimizer": optimizer.state_dict(),
                "state": vars(state),
                "best": best,
                "curves": curves.state(),
            }
            save_checkpoint(path, content)
            curves.write()

    def examine() -> None:
        nonlocal best
        network.eval()
        with torch.no_grad():
            measured = validate(average.module, state.step)
        network.train()
        if measured:
            curves.add(state.step, state.seconds, measured)
            value = measured[score]
            if state.best is None or (value > state.best) == higher_is_better:
                state.best = value
                best = average.weights()
        state.validations += 1

    network.train()
    batches = ahead(make_batch, state.step)
    saved = time.monotonic()
    try:
        while (fraction := _agreed(fabric, settings.budget.fraction(state.step, state.seconds))) < 1.0:
            began = time.monotonic()
            set_learning_rate(optimizer, warmup_cosine(fraction, settings.warmup))
            batch = _move(next(batches), fabric.device)
            loss = compute_loss(module, batch, state.step)
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(loss)
            fabric.clip_gradients(module, optimizer, max_norm=settings.clip)
            optimizer.step()
            average.update(network)
            state.step += 1
            curves.loss(state.step, float(loss.detach()), optimizer.param_groups[-1]["lr"])
            state.seconds += time.monotonic() - began
            fraction = _agreed(fabric, settings.budget.fraction(state.step, state.seconds))
            reporter.progress("train", *_done(settings.budget, state))
            if int(fraction * settings.validations + 1e-9) > state.validations:
                try:
                    examine()
                finally:  # also when the user stops during a long validation
                    save()
                saved = time.monotonic()
            if time.monotonic() - saved > settings.checkpoint_seconds:
                save()
                saved = time.monotonic()
            if _agreed(fabric, float(requested())) > 0:
                save()
                raise Stopped("Stopped by the user; what was trained is kept.", "Continue with --resume.")
    finally:
        batches.close()
    save()
    return best or average.weights(), state


class _Average:
    """Exponential moving average of a network's weights."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._model = AveragedModel(network, multi_avg_fn=moving_average(decay))

    @property
    def module(self) -> nn.Module:
        return self._model.module.eval()

    def update(self, network: nn.Module) -> None:
        self._model.update_parameters(network)

    def weights(self) -> dict[str, Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self._model.module.state_dict().items()}

    def state(self) -> dict[str, Tensor]:
        return self._model.state_dict()

    def load(self, state: dict[str, Tensor]) -> None:
        self._model.load_state_dict(state)

    def to(self, device: torch.device) -> None:
        self._model.to(device)


def _agreed(fabric: Fabric, value: float) -> float:
    """The value of the first process: all must take the same decision."""
    return float(fabric.broadcast(value)) if fabric.world_size > 1 else value


def _done(budget: Budget, state: LoopState) -> tuple[float, float]:
    if budget.steps:
        return state.step, budget.steps
    total = 60 * (budget.minutes or 0)
    return round(min(state.seconds, total), 1), total


def _move(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, (list, tuple)):
        return type(batch)(_move(item, device) for item in batch)
    return batch
