"""The pre-training methods by name. No torch is needed to list them."""

from __future__ import annotations

import importlib
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple

from mimseg.errors import UserError

if TYPE_CHECKING:
    from mimseg.networks.methods.pretraining import PretrainingNetwork


class Method(NamedTuple):
    """A pre-training method.

    Attributes:
        title: For people.
        summary: How it learns, in a few words.
        source: Module and class, a `PretrainingNetwork`.
        masked: It is masked image modelling: it hides parts of a scan and predicts them.
    """

    title: str
    summary: str
    source: str
    masked: bool = False


# A further method is one more line here and its file. The first one is the default.
METHODS = {
    "mae": Method("MAE", "hide parts of a scan, fill them in", "mimseg.networks.methods.mae.MaskedAutoencoder", True),
    "simmim": Method("SimMIM", "hide parts of a scan, simpler decoder", "mimseg.networks.methods.simmim.SimMIM", True),
    "simclr": Method("SimCLR", "tell scans apart", "mimseg.networks.methods.simclr.SimCLR"),
}


def load_method(name: str) -> type[PretrainingNetwork]:
    """The class of a method.

    Raises:
        UserError: There is no method of this name.
    """
    if name not in METHODS:
        raise UserError(
            f"There is no pre-training method {name!r}.", f"Choose one of {', '.join(METHODS)}.", "bad-usage"
        )
    module, _, attribute = METHODS[name].source.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def method_settings(name: str, values: dict[str, Any]) -> Any:
    """A method's own settings, an instance of its `settings_type`.

    Args:
        name: Of the method.
        values: Settings by name; defaults for the rest.

    Raises:
        UserError: There is no such method or setting, or a value does not fit.
    """
    kind = load_method(name).settings_type
    known = [field.name for field in fields(kind)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise UserError(
            f"{METHODS[name].title} has no setting {', '.join(unknown)}.", f"It has {', '.join(known)}.", "bad-usage"
        )
    return kind(**values)
