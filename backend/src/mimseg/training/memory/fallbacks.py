"""The last rungs when memory runs out: a smaller window, then the CPU, each time from the last state.

`training.memory_ladder` computes a step in parts and recomputes activations; where that does not suffice either, the
training is built anew here, smaller or elsewhere, and goes on from its own checkpoint at the step where it was.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass

import torch

from mimseg.errors import OutOfMemory
from mimseg.events import Reporter
from mimseg.training.loop import Training
from mimseg.training.planning import least_window, smaller_window


@dataclass(frozen=True)
class Place:
    """Where a training runs.

    Attributes:
        window: Voxels along x, y, z of a crop.
        device: As for `make_fabric`.
    """

    window: tuple[int, int, int]
    device: str


@dataclass(frozen=True)
class Limits:
    """How far a training may be moved.

    Attributes:
        patch_size: Windows are multiples of it.
        planned: The window that it was started with.
        may_change_device: Whether the CPU may take over from a GPU: not where the user asked for that GPU.
    """

    patch_size: int
    planned: tuple[int, int, int]
    may_change_device: bool

    def next(self, place: Place, device_type: str) -> Place | None:
        """The next rung, or None after the last one.

        Args:
            place: Where memory ran out.
            device_type: What `place.device` turned out to be.
        """
        window = smaller_window(place.window, self.patch_size, least_window(self.planned, self.patch_size))
        if window is not None:
            return Place(window, place.device)
        if device_type != "cpu" and self.may_change_device:
            return Place(place.window, "cpu")
        return None


def train_within_memory(
    build: Callable[[Place, bool], Training], place: Place, limits: Limits, resume: bool, reporter: Reporter
) -> Training:
    """Train, and go on with a smaller window or on the CPU where memory does not suffice.

    Args:
        build: Makes the training of a place, from its checkpoint if the second argument is true. It is called again
            for every rung and must hold on to nothing of the training before.
        place: Where to begin.
        limits: Where to end.
        resume: Whether the run is resumed.
        reporter: Is warned of every rung.

    Returns:
        The finished training.

    Raises:
        OutOfMemory: Not even the last rung suffices.
        Stopped: As `Training.run`.
    """
    while True:
        training = build(place, resume)
        fault = _run(training)
        if fault is None:
            return training
        following = limits.next(place, training.device_type) if training.processes == 1 else None
        if following is None:
            raise fault
        done = describe_move(place, following, training.device_type, training.state.step)
        if following.device != place.device:
            training.state.extra.pop("memory", None)  # what the GPU needed
        training.save_for(following.window, done)
        reporter.warning("memory-ran-out", done)
        place, resume = following, True
        del training
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def describe_move(place: Place, following: Place, device_type: str, step: int) -> str:
    """What is done about it, for the user and for the model's record."""
    where = {"cpu": "this computer", "cuda": "the GPU", "mps": "the Apple GPU"}.get(device_type, device_type)
    if following.device != place.device:
        return (
            f"The memory of {where} does not suffice even for a small window: training goes on FROM STEP {step} ON THE "
            "CPU, which is many times slower."
        )
    old, new = ("x".join(map(str, window)) for window in (place.window, following.window))
    return (
        f"The memory of {where} ran out: training goes on from step {step} with windows of {new} instead of {old} "
        "voxels, with the weights as they are."
    )


def _run(training: Training) -> OutOfMemory | None:
    try:
        training.run()
    except OutOfMemory as fault:
        # A new one: the tracebacks of the old one and of its causes keep tensors alive.
        return OutOfMemory(fault.message, fault.hint, fault.code)
    return None
