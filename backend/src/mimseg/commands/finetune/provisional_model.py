"""The best model so far, usable while training goes on: a complete bundle in the folder of the training."""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimseg.bundle.description import Description
from mimseg.bundle.writer import write_bundle
from mimseg.errors import UserError
from mimseg.events import Reporter

if TYPE_CHECKING:
    from mimseg.training.loop import Training

FOLDER = "best-model"
# Least seconds of training before the first model and between two, unless a stop leaves what validated best; and how
# many times longer than writing one the training must have been.
LEAST_PAUSE = 120.0
PAUSE_FACTOR = 20
# Seconds that the first model is expected to take, and more for each million weights.
EXPECTED_SECONDS, EXPECTED_SECONDS_PER_MILLION = 5.0, 0.3


class ProvisionalModel:
    """Writes a model whenever validation has improved, seldom enough to cost less than a twentieth of the training.

    Without validation it is that of the averaged weights. A model that cannot be replaced, because Windows keeps a
    folder that is in use, stays; the next one tries again.

    Args:
        work: Folder of the training.
        describe: Description of a model of the given scores; the rest is as in the finished one.
        reporter: Is told of every model.
    """

    def __init__(self, work: Path, describe: Callable[[dict[str, Any]], Description], reporter: Reporter) -> None:
        self._folder, self._describe, self._reporter = work / FOLDER, describe, reporter
        self._written = 0.0
        self._shown: tuple[Any, ...] = ()
        self._expected: float | None = None
        self._failed = False

    def __call__(self, training: Training, stopping: bool) -> None:
        """Write a model if it is time.

        Args:
            training: After a checkpoint.
            stopping: Whether it ends here for now; then a model is written although the last one is recent, or none
                was due yet.
        """
        state = training.state
        present = (state.best,) if state.best is not None else (None, state.step)
        if self._expected is None:
            weights = sum(value.numel() for value in training.network.parameters())
            self._expected = EXPECTED_SECONDS + EXPECTED_SECONDS_PER_MILLION * weights / 1e6
        if stopping:
            # What was validated is worth the seconds; averaged weights of a few steps are not.
            pause, since = 0.0 if state.best is not None else LEAST_PAUSE, state.seconds
        else:
            pause, since = max(LEAST_PAUSE, PAUSE_FACTOR * self._expected), state.seconds - self._written
        if present == self._shown or since < pause:
            return
        began = time.monotonic()
        if self._write(training):
            self._shown = present
            self._reporter.model(str(self._folder), state.step, state.best)
        self._written, self._expected = state.seconds, time.monotonic() - began

    def _write(self, training: Training) -> bool:
        import torch

        state, random_state = training.state, torch.get_rng_state()
        network = copy.deepcopy(training.network).cpu().eval()
        network.load_state_dict(training.best_weights())
        dice = None if state.best is None else round(state.best, 4)
        scores = {"status": f"training not finished, step {state.step}", "validation_dice_while_training": dice}
        try:
            remove_leftovers(self._folder.parent)
            write_bundle(self._folder, network, self._describe(scores))
        except (OSError, UserError) as fault:
            if not self._failed:
                self._reporter.info(f"The model for use meanwhile could not be written ({fault}); training goes on.")
            self._failed = True
            return False
        finally:
            torch.set_rng_state(random_state)
        return True


def unfinished(description: Description, scores: dict[str, Any]) -> dict[str, Any]:
    """Entries of a finished model's description that differ for one of a training that goes on."""
    dice = scores.get("validation_dice_while_training")
    measured = "" if dice is None else f"; Dice {dice:.3f} on the validation cases while training"
    return {
        "name": f"{description.name[:52]}-unfinished",
        "title": f"{description.title} (training not finished)",
        "description": f"{description.description} PROVISIONAL: {scores['status']}{measured}. Not scored.",
        "scores": scores,
    }


def remove_provisional(work: Path) -> None:
    """Remove the model of an unfinished training: the finished one is there. One that is in use stays."""
    shutil.rmtree(work / FOLDER, ignore_errors=True)
    remove_leftovers(work)


def remove_leftovers(work: Path) -> None:
    """Remove what a kill left behind while a model was written."""
    for folder in work.glob(f".{FOLDER}.*"):
        shutil.rmtree(folder, ignore_errors=True)
