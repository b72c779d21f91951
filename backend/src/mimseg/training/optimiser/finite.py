"""Changes of the weights, but for steps whose loss or gradient is no finite number: those are left out."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning_fabric import Fabric

from mimseg.errors import UserError
from mimseg.events import Reporter

# After so many the scale of 16-bit gradients, halved by each, is a thousandth of what it was: it is not the scale.
MOST_IN_A_ROW = 10


class FiniteSteps:
    """Limits the norm of gradients and changes the weights by them, if loss and norm are finite.

    In 16 bits (`16-mixed`) gradients are multiplied by a scale that grows until one is too large: to leave out that
    step and go on with half of the scale is the method. Elsewhere it is a sign of something wrong and told.

    Args:
        fabric: Where to run.
        clip: Largest norm of the gradient; 0 for no limit.
        reporter: Is told of the first step that is left out.

    Attributes:
        left_out: How many of the last steps were left out, one after the other.
    """

    def __init__(self, fabric: Fabric, clip: float, reporter: Reporter) -> None:
        self._fabric, self._clip, self._reporter = fabric, clip or math.inf, reporter
        self._precision: Any = fabric.strategy.precision
        self._scaler = getattr(self._precision, "scaler", None)
        self._told = False
        self.left_out = 0

    def take(self, module: Any, optimizer: Any, loss: float, step: int) -> bool:
        """Change the weights by their gradients, or leave it out.

        Args:
            module: As Fabric wrapped it.
            optimizer: Likewise.
            loss: Of this process.
            step: Its number, for people: 1 is the first.

        Returns:
            Whether the weights were changed; the same in all processes.

        Raises:
            UserError: This was one too many in a row; the weights are those of the last step that was not left out.
        """
        norm = self._fabric.clip_gradients(module, optimizer, max_norm=self._clip, error_if_nonfinite=False)
        finite = math.isfinite(loss)
        if self._all(finite and math.isfinite(float(norm if norm is not None else 0))):
            optimizer.step()
            self.left_out = 0
            return True
        self.left_out += 1
        if self._scaler is not None:
            self._scaler.update()  # halves the scale
        if not self._told and (self._scaler is None or not finite):
            self._told = True
            self._reporter.warning(
                "loss-not-finite",
                f"The loss of step {step} or its gradient is no finite number. Such steps are left out.",
            )
        if self.left_out >= MOST_IN_A_ROW:
            in_32_bits = self._precision.precision == "32-true"
            raise UserError(
                f"The losses or gradients of {self.left_out} steps, the last one step {step}, are no finite numbers.",
                "Start again with a lower --learning-rate"
                + ("." if in_32_bits else ", or go on from the last checkpoint with --resume --precision 32-true."),
                code="loss-not-finite",
            )
        return False

    def state(self) -> dict[str, Any]:
        """For a checkpoint: the scale of 16-bit gradients; empty where there is none."""
        return self._precision.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Go on with what `state` returned."""
        if state and self._scaler is not None:
            self._precision.load_state_dict(state)

    def _all(self, finite: bool) -> bool:
        """Whether it is so in all processes: a loss is that of one of them."""
        if self._fabric.world_size == 1:
            return finite
        together = self._fabric.all_reduce(torch.tensor(float(finite), device=self._fabric.device), reduce_op="sum")
        return float(together) > self._fabric.world_size - 0.5  # type: ignore[arg-type]
