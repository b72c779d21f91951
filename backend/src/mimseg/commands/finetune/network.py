"""The network of a fine-tuning, what it is trained to do, and where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from mimseg.commands.finetune.data import LabelledData
from mimseg.commands.finetune.settings import USUAL_BATCH, FinetuneSettings
from mimseg.events import Reporter
from mimseg.networks.settings import NetworkSettings
from mimseg.stopping import check
from mimseg.training.crops.cache import usual_sizes
from mimseg.training.crops.draw import draw_batch
from mimseg.training.loop import Task
from mimseg.training.losses import balance_offsets, dice_and_binary_cross_entropy, dice_and_cross_entropy
from mimseg.training.optimiser.schedule import parameter_groups
from mimseg.training.planning import LARGEST_WINDOW, plan_window
from mimseg.training.precision import fabric_in_best_precision
from mimseg.training.start.initial_weights import InitialWeights
from mimseg.training.start.transfer import TransferReport, transfer
from mimseg.training.validation import mean_dice, predict_case

# Crops that tell how many voxels each structure has in one.
COUNTED_CROPS = 64
# How much of the weighing by `--balance` may be taken back: the validation cases choose.
SHARES_TAKEN_BACK = (0.0, 0.25, 0.5, 0.75)


@dataclass(frozen=True)
class PreparedNetwork:
    """A network that is ready to be trained.

    Attributes:
        fabric: Device and precision.
        precision: Its name.
        network: On the CPU.
        shape: Its settings.
        report: What became of the start weights; None without any.
    """

    fabric: Fabric
    precision: str
    network: nn.Module
    shape: NetworkSettings
    report: TransferReport | None


def choose_window(
    settings: FinetuneSettings, initial: InitialWeights | None, data: LabelledData, device_type: str
) -> tuple[int, int, int]:
    """The user's window, that of the start weights, or one that suits the data."""
    window = settings.window or (initial.network.window if initial else None)
    if window is not None:
        return window
    divisor = (initial.network if initial else settings.network).divisor
    return plan_window(usual_sizes(data.training), divisor, LARGEST_WINDOW[device_type])


def prepare_network(
    settings: FinetuneSettings,
    initial: InitialWeights | None,
    data: LabelledData,
    window: tuple[int, int, int],
    fabric: Fabric,
    device: str,
    choose_layout: bool,
) -> PreparedNetwork:
    """Build the network and choose its precision.

    Args:
        settings: All choices but window and device.
        initial: What it starts from.
        data: What it learns.
        window: Voxels along x, y, z.
        fabric: The float32 one of `device`.
        device: As for `make_fabric`.
        choose_layout: As for `fabric_in_best_precision`.

    Raises:
        UserError: The start weights do not fit.
    """
    network, shape, report = network_to_train(settings, initial, data, window)
    fabric, precision = fabric_in_best_precision(
        fabric, device, settings.precision, settings.devices, settings.nodes, network,
        (shape.channels, *shape.window), choose_layout,
    )  # fmt: skip
    return PreparedNetwork(fabric, precision, network, shape, report)


def network_to_train(
    settings: FinetuneSettings, initial: InitialWeights | None, data: LabelledData, window: tuple[int, int, int]
) -> tuple[nn.Module, NetworkSettings, TransferReport | None]:
    """The network for these windows, with the start weights in it."""
    base = initial.network if initial else settings.network
    channels = int(data.training[0].image.shape[0])
    shape = replace(base, window=window, channels=channels, classes=data.outputs)
    torch.manual_seed(settings.seed)
    network = shape.build()
    if initial is None:
        return network, shape, None
    report = transfer(network, shape, initial.weights, initial.network, initial.name, settings.allow_incomplete)
    return network, shape, report


def make_loss(settings: FinetuneSettings, data: LabelledData) -> Callable[[nn.Module, Any], Tensor]:
    """The loss of (network, batch)."""
    compute_loss = dice_and_cross_entropy(settings.include_background, settings.balance)
    membership = data.training[0].membership
    if data.regions is not None and membership is not None:
        compute_loss = dice_and_binary_cross_entropy(membership)

    def loss_of(module: nn.Module, batch: Any) -> Tensor:
        return compute_loss(module(batch[0]).float(), batch[1])

    return loss_of


def draw(
    settings: FinetuneSettings, data: LabelledData, shape: NetworkSettings, fabric: Fabric, crops: int, step: int
) -> tuple[Tensor, Tensor | None]:
    """The batch of a step with so many crops, on the CPU."""
    return draw_batch(
        data.training, shape.window, settings.augmentation, settings.foreground_share, crops, settings.seed, step,
        fabric.global_rank, fabric.world_size, settings.crops_per_volume,
    )  # fmt: skip


def build_task(settings: FinetuneSettings, data: LabelledData, prepared: PreparedNetwork) -> Task:
    """What the training loop needs: batches, loss, validation, learning rates."""
    fabric, network, shape, report = prepared.fabric, prepared.network, prepared.shape, prepared.report

    def make_batch(step: int) -> tuple[Tensor, Tensor | None]:
        return draw(settings, data, shape, fabric, settings.batch or USUAL_BATCH, step)

    def validate(average: nn.Module, step: int) -> dict[str, float]:
        if not data.validation or not fabric.is_global_zero:
            return {}
        return {"validation_dice": validation_dice(average, settings, data, shape)}

    pretrained = set(report.loaded + report.resized) if report else set()
    schedule = settings.schedule
    groups = parameter_groups(
        network, schedule.learning_rate, schedule.weight_decay, shape, settings.layer_decay, pretrained,
        schedule.optimizer,
    )  # fmt: skip
    return Task(network, groups, make_batch, make_loss(settings, data), validate, "validation_dice", True)


def validation_dice(
    network: nn.Module, settings: FinetuneSettings, data: LabelledData, shape: NetworkSettings
) -> float:
    """Mean Dice of the validation cases."""
    dice = [mean_dice(predict_case(network, case, shape, settings.overlap), case) for case in data.validation]
    return float(np.mean(dice))


def _output_bias(network: nn.Module, shape: NetworkSettings) -> Tensor | None:
    """The bias of the last layer, if the network says which that is and it has one."""
    for name, value in network.named_parameters():
        own = bool(shape.output_layer) and name.startswith(shape.output_layer) and name.endswith("bias")
        if own and value.shape == (shape.classes,):
            return value.data
    return None


def take_back_balance(
    network: nn.Module, shape: NetworkSettings, settings: FinetuneSettings, data: LabelledData, reporter: Reporter
) -> float:
    """Change the last layer's bias so that structures which `--balance` made too large get smaller.

    Cases that choose the best weights choose this, too: heads gained by it, abdomens would have lost.

    Returns:
        The share of the weighing that was taken back; 0 also where no case may choose, or no last layer is named.

    Raises:
        Stopped: The user asked to stop.
    """
    if not settings.balance or data.regions is not None or not data.validation or not settings.validations:
        return 0.0
    voxels, crops = torch.zeros(2, shape.classes)
    for step in range(COUNTED_CROPS):
        _, labels = draw_batch(
            data.training, shape.window, settings.augmentation, settings.foreground_share, 1, settings.seed, step
        )
        if labels is not None:
            own = torch.bincount(labels[labels < shape.classes].long(), minlength=shape.classes)
            voxels, crops = voxels + own, crops + (own > 0)
    bias = _output_bias(network, shape)
    if bias is None:
        return 0.0
    offsets = balance_offsets(voxels / crops.clamp_min(1)).to(bias)
    own_bias, scores = bias.clone(), []
    for number, share in enumerate(SHARES_TAKEN_BACK):
        check()
        reporter.progress("score", number, len(SHARES_TAKEN_BACK))
        bias.copy_(own_bias + share * offsets)
        scores.append(validation_dice(network, settings, data, shape))
    reporter.progress("score", len(SHARES_TAKEN_BACK), len(SHARES_TAKEN_BACK))
    best = SHARES_TAKEN_BACK[int(np.argmax(scores))]
    bias.copy_(own_bias + best * offsets)
    return best
