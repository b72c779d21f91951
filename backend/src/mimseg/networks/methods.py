"""The pre-training methods by name. No torch is needed to list them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mimseg.errors import UserError

if TYPE_CHECKING:
    from mimseg.networks.pretraining import PretrainingNetwork

# Name: module and class. A further method is one more line here and its file.
METHODS = {
    "mae": "mimseg.networks.mae.MaskedAutoencoder",
    "simmim": "mimseg.networks.simmim.SimMIM",
    "simclr": "mimseg.networks.simclr.SimCLR",
}


# As papers spell them; a method that is not here is called by its name.
_TITLES = {"mae": "MAE", "simmim": "SimMIM", "simclr": "SimCLR"}


def title_of(name: str) -> str:
    """What a method is called in tables and texts; needs no torch."""
    return _TITLES.get(name, name)


def load_method(name: str) -> type[PretrainingNetwork]:
    """The class of a method.

    Raises:
        UserError: There is no method of this name.
    """
    if name not in METHODS:
        raise UserError(
            f"There is no pre-training method {name!r}.", f"Choose one of {', '.join(METHODS)}.", "bad-usage"
        )
    module, _, attribute = METHODS[name].rpartition(".")
    return getattr(importlib.import_module(module), attribute)
