"""Weights of other programs: which importer knows a file.

A new source is one module with NAME, TITLE, ANCHOR, `recognise` and `convert`, see `found.Importer`, and one line in
IMPORTERS.
"""

from __future__ import annotations

import importlib
from typing import cast

from mimseg.errors import UserError
from mimseg.importers.checkpoint_file import Checkpoint
from mimseg.importers.found import Found, Importer, encoders_in

IMPORTERS = [
    "mimseg.importers.mim_med3d",
    "mimseg.importers.monai_unetr",
    "mimseg.importers.monai_vit",
    "mimseg.importers.monai_vit_autoencoder",
    "mimseg.importers.monai_mae",
    "mimseg.importers.nnssl",
    "mimseg.importers.nnssl_resenc",
]


def importers() -> tuple[Importer, ...]:
    """All of them."""
    return tuple(cast(Importer, importlib.import_module(name)) for name in IMPORTERS)


def identify(checkpoint: Checkpoint, source: str | None = None, prefix: str = "") -> tuple[Importer, Found]:
    """The one importer that knows the network in a file, and where in the file it is.

    Args:
        checkpoint: The file.
        source: Name of an importer, for files that several know.
        prefix: What the names of the encoder's tensors begin with, for files with several networks.

    Raises:
        UserError: No importer knows the file, or more than one network or importer is left.
    """
    known = importers()
    names = [importer.NAME for importer in known]
    if source is not None and source not in names:
        raise UserError(f"There is no importer {source!r}.", f"Choose one of {', '.join(names)}.", "bad-usage")
    pairs = [
        (importer, found)
        for importer in known
        for found in encoders_in(checkpoint, importer.ANCHOR)
        if importer.recognise(found)
    ]
    left = [
        (importer, found)
        for importer, found in pairs
        if source in (None, importer.NAME) and found.root.startswith(prefix)
    ]
    if len(left) == 1:
        return left[0]
    if not pairs:
        raise UserError(
            f"No importer knows this file: none of its {len(checkpoint.tensors)} tensors belongs to a network that can "
            "be imported.",
            f"What can be imported: {', '.join(importer.TITLE for importer in known if importer.TITLE)}.",
            "unknown-weights",
        )
    choices = "; ".join(f"--source {importer.NAME} --prefix {found.root or repr('')}" for importer, found in pairs)
    raise UserError(
        f"The file holds {len(pairs)} networks that can be imported"
        + (" and none of them is the chosen one." if not left else "."),
        f"Choose one: {choices}.",
        "ambiguous-weights",
    )
