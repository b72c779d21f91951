"""The networks by name. No torch is needed to list them, or to read their settings."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mimseg.errors import UserError

if TYPE_CHECKING:
    from mimseg.networks.settings import NetworkSettings

# Name: module and class of its settings. A further network is one more line here and its file.
NETWORKS = {
    "unetr": "mimseg.networks.unetr_settings.UnetrSettings",
    "primus": "mimseg.networks.primus_settings.PrimusSettings",
    "dynunet": "mimseg.networks.dynunet.DynUnetSettings",
}
# What these sizes of UNETR were called when it was the only network.
_OLD_NAMES = {"small": "unetr-small", "base": "unetr-base"}


def settings_class(name: str) -> type[NetworkSettings]:
    """The settings of a network.

    Raises:
        UserError: There is no network of this name.
    """
    if name not in NETWORKS:
        raise UserError(
            f"There is no network {name!r}.",
            f"This mimseg has {', '.join(NETWORKS)}; a model made by a newer one needs an update.",
            "unknown-network",
        )
    module, _, attribute = NETWORKS[name].rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def network_names() -> tuple[str, ...]:
    """What can be chosen: each network in each of its sizes, such as `unetr-small`."""
    return tuple(f"{name}-{size}" if size else name for name in NETWORKS for size in settings_class(name).sizes)


def full_name(name: str) -> str:
    """One of `network_names` for a short or an old name: `unetr` is its first size; others stay as they are."""
    if name in NETWORKS:
        size = next(iter(settings_class(name).sizes))
        return f"{name}-{size}" if size else name
    return _OLD_NAMES.get(name, name)


def named_settings(name: str) -> NetworkSettings:
    """The settings of a network in a size.

    Args:
        name: One of `network_names`, or what `full_name` understands.

    Raises:
        UserError: There is no such network or size.
    """
    chosen = full_name(name)
    if chosen not in network_names():
        raise UserError(f"There is no network {name!r}.", f"Choose one of {', '.join(network_names())}.", "bad-usage")
    network, _, size = (chosen, "", "") if chosen in NETWORKS else chosen.rpartition("-")
    kind = settings_class(network)
    return kind(**kind.sizes[size])
