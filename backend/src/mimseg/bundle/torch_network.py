"""The network of a model in PyTorch, with its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mimseg.bundle.checked_folder import Bundle
from mimseg.errors import UserError

if TYPE_CHECKING:
    import torch


def torch_network(bundle: Bundle) -> torch.nn.Module:
    """The network, in float32 on the CPU.

    Raises:
        UserError: The weights do not fit the network that the description names.
    """
    from mimseg.networks.weights import with_weights

    try:
        return with_weights(bundle.description.network_settings.build(), bundle.weights_path, "cpu")
    except RuntimeError as fault:
        raise UserError(
            f"The weights of the model {bundle.path} do not fit its network.",
            "The model is damaged: import it again.",
            code="model-damaged",
        ) from fault
