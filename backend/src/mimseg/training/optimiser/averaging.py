"""The moving average of a network's weights, which validates better than the weights themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mimseg.training.optimiser.schedule import moving_average


class AveragedWeights:
    """Exponential moving average of a network's weights.

    Args:
        network: Whose weights are averaged; stays as it is.
        decay: Share of the average that a step keeps; 0 for the latest weights.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._model = AveragedModel(network, multi_avg_fn=moving_average(decay))

    @property
    def module(self) -> nn.Module:
        """A network with the averaged weights, ready to predict."""
        return self._model.module.eval()

    def update(self, network: nn.Module) -> None:
        """Take in the weights after one step."""
        self._model.update_parameters(network)

    def weights(self) -> dict[str, Tensor]:
        """A copy of the averaged weights on the CPU, in the usual order of memory."""
        weights = self._model.module.state_dict().items()
        return {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in weights}

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return self._model.state_dict()

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` returned."""
        self._model.load_state_dict(state)

    def to(self, device: torch.device) -> None:
        """Move to a device."""
        self._model.to(device)
