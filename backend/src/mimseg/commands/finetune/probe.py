"""The short probe behind the plan of a fine-tuning: a few real steps on this computer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from mimseg.commands.finetune.data import LabelledData
from mimseg.commands.finetune.network import (
    PreparedNetwork,
    choose_window,
    draw,
    make_loss,
    network_to_train,
    prepare_network,
)
from mimseg.commands.finetune.plan import (
    BATCHES,
    MEMORY_MARGIN,
    TrainingPlan,
    choose_batch,
    fitting_window,
    make_plan,
)
from mimseg.commands.finetune.settings import USUAL_BATCH, FinetuneSettings
from mimseg.commands.finetune.training_device import device_name, free_memory
from mimseg.errors import OutOfMemory
from mimseg.memory import is_out_of_memory
from mimseg.training.crops.cache import count_cases
from mimseg.training.loop import make_fabric
from mimseg.training.memory.cost import Cost, measure_cost, time_step
from mimseg.training.planning import least_window, smaller_window
from mimseg.training.start.initial_weights import InitialWeights

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Longer steps are not repeated for other batches: their time is taken as proportional.
LONGEST_STEP = 1.5
# Memory is first counted with a window of so many patches along each axis, if the wanted one is so much larger.
FIRST_PATCHES, FIRST_RATIO = 3, 4


def plan_training(
    settings: FinetuneSettings,
    initial: InitialWeights | None,
    data: LabelledData,
    device: str,
) -> tuple[TrainingPlan, Cost, PreparedNetwork]:
    """Choose window and batch, if they are open, by what a step takes here; takes a few seconds.

    Args:
        settings: All choices.
        initial: What the training starts from.
        data: The cases.
        device: As for `make_fabric`; what `auto` means here, see `choose_device`.

    Returns:
        The plan, the cost of its steps, and the network that it was made with, ready to be trained.

    Raises:
        OutOfMemory: Not even the smallest window fits.
    """
    fabric = make_fabric(device, "32-true", settings.devices, settings.nodes)
    wanted, free = choose_window(settings, initial, data, fabric.device.type), free_memory(fabric.device)
    prepared, cost, fits = _within(settings, initial, data, fabric, device, wanted, free)
    window, reasons = prepared.shape.window, []
    if window != wanted:
        old, new = ("x".join(map(str, size)) for size in (wanted, window))
        reasons.append(f"Windows of {new} instead of {old} voxels, because there is not enough free memory for more.")
    if not fits:
        reasons.append("Memory may run out; then the training goes on in smaller parts.")
    seconds_of = _seconds_of(settings, data, prepared, cost)
    chosen, why = settings.batch, ""
    if chosen is None:
        chosen, why = choose_batch(
            settings.budget, seconds_of, settings.crops_per_volume,
            lambda crops: free is None or MEMORY_MARGIN * cost.of_batch(crops).memory_bytes <= free,
        )  # fmt: skip
    settings = replace(settings, batch=chosen)
    cost = cost.of_batch(chosen, seconds_of(chosen))
    plan = make_plan(
        settings, cost, (str(fabric.device), device_name(fabric.device), prepared.precision), window,
        (count_cases(data.training), count_cases(data.validation)), free, (*reasons, why),
    )  # fmt: skip
    return plan, cost, prepared


def _within(
    settings: FinetuneSettings,
    initial: InitialWeights | None,
    data: LabelledData,
    fabric: Fabric,
    device: str,
    window: tuple[int, int, int],
    free: int | None,
) -> tuple[PreparedNetwork, Cost, bool]:
    """The network with the wanted window, or a smaller one if memory is short; its cost with one crop; whether it fits.

    Raises:
        OutOfMemory: One crop of the smallest window that may be chosen was too much.
    """
    base = initial.network if initial else settings.network
    least = least_window(window, base.divisor)
    may_shrink = settings.window is None and fabric.world_size == 1

    def smaller(larger: tuple[int, int, int]) -> tuple[int, int, int] | None:
        return smaller_window(larger, base.divisor, least) if may_shrink else None

    if may_shrink and free is not None:
        window = _expected_to_fit(replace(settings, network=base), data, fabric, window, smaller, free)
    while True:
        fault = None
        try:
            prepared = prepare_network(settings, initial, data, window, fabric, device, settings.precision == "auto")
            cost = _cost_of_one(settings, data, prepared)
            fits = free is None or MEMORY_MARGIN * cost.memory_bytes <= free
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            fault, fits = str(fabric.device), False
        following = None if fits else smaller(window)
        if following is not None:
            window = following
        elif fault is None:
            return prepared, cost, fits
        else:
            size = "x".join(map(str, window))
            raise OutOfMemory(
                f"{fault} does not have enough memory for one crop of {size} voxels.",
                "Use a smaller --window, a smaller --network, or another --device.",
            )


def _cost_of_one(settings: FinetuneSettings, data: LabelledData, prepared: PreparedNetwork) -> Cost:
    network, shape = prepared.network, prepared.shape
    images, classes = draw(settings, data, shape, prepared.fabric, settings.crops_per_volume, 0)
    example = images[:1], None if classes is None else classes[:1]
    loss = make_loss(settings, data)
    tokens = math.prod(shape.patches) if shape.patches else 0
    return measure_cost(prepared.fabric, network, shape.encoder_of(network), tokens, loss, example, 1.0)


def _expected_to_fit(
    settings: FinetuneSettings,
    data: LabelledData,
    fabric: Fabric,
    window: tuple[int, int, int],
    smaller: Callable[[tuple[int, int, int]], tuple[int, int, int] | None],
    free: int,
) -> tuple[int, int, int]:
    """The largest window whose crop should fit, found without trying what may be far too large.

    A small window is tried; what is kept for the backward pass grows with the voxels.
    """
    x, y, z = (min(edge, FIRST_PATCHES * settings.network.divisor) for edge in window)
    if math.prod(window) <= FIRST_RATIO * x * y * z:
        return window
    network, shape, _ = network_to_train(settings, None, data, (x, y, z))
    cost = _cost_of_one(settings, data, PreparedNetwork(fabric, "32-true", network, shape, None))
    fixed = cost.of_batch(0).memory_bytes

    def need(wanted: tuple[int, int, int]) -> float:
        return fixed + (cost.memory_bytes - fixed) * math.prod(wanted) / (x * y * z)

    return fitting_window(window, smaller, need, free)


def _seconds_of(
    settings: FinetuneSettings, data: LabelledData, prepared: PreparedNetwork, cost: Cost
) -> Callable[[int], float]:
    """Seconds of a step of so many crops: timed where that is quick, else in proportion to one crop.

    Crops are drawn beside the training: on a CPU that takes its share of the cores; beside a GPU only what takes longer
    than the step counts.
    """
    largest = settings.batch or max(BATCHES[-1], settings.crops_per_volume, USUAL_BATCH)
    loss = make_loss(settings, data)
    one = cost.seconds_per_step

    @cache
    def drawn() -> tuple[float, Any]:
        began = time.perf_counter()
        batch = draw(settings, data, prepared.shape, prepared.fabric, largest, 0)
        return (time.perf_counter() - began) / largest, batch

    @cache
    def seconds(crops: int) -> float:
        drawing, batch = drawn()
        step = crops * one
        if crops > 1 and step <= LONGEST_STEP:
            example = tuple(None if entry is None else entry[:crops] for entry in batch)
            try:
                step = time_step(prepared.fabric, prepared.network, loss, example)
            except (RuntimeError, MemoryError) as fault:
                if not is_out_of_memory(fault):
                    raise
        on_cpu = prepared.fabric.device.type == "cpu"
        return step + crops * drawing if on_cpu else max(step, crops * drawing)

    return seconds
