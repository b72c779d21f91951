"""Weights of other programs: which importer knows a file.

A new source is one module with NAME, TITLE, `recognise` and `convert`, and one entry here.
"""

from __future__ import annotations

from types import ModuleType

from mimseg.errors import UserError
from mimseg.importers import mim_med3d, monai_mae, monai_unetr, monai_vit, monai_vit_autoencoder
from mimseg.importers.checkpoint_file import Checkpoint
from mimseg.importers.found import Found, encoders_in

IMPORTERS: tuple[ModuleType, ...] = (mim_med3d, monai_unetr, monai_vit, monai_vit_autoencoder, monai_mae)
NAMES = tuple(importer.NAME for importer in IMPORTERS)


def identify(checkpoint: Checkpoint, source: str | None = None, prefix: str = "") -> tuple[ModuleType, Found]:
    """The one importer that knows the network in a file, and where in the file it is.

    Args:
        checkpoint: The file.
        source: Name of an importer, for files that several know.
        prefix: What the names of the encoder's tensors begin with, for files with several networks.

    Raises:
        UserError: No importer knows the file, or more than one network or importer is left.
    """
    if source is not None and source not in NAMES:
        raise UserError(f"There is no importer {source!r}.", f"Choose one of {', '.join(NAMES)}.", "bad-usage")
    encoders = encoders_in(checkpoint.tensors)
    pairs = [(importer, found) for found in encoders for importer in IMPORTERS if importer.recognise(found)]
    left = [
        (importer, found)
        for importer, found in pairs
        if source in (None, importer.NAME) and found.root.startswith(prefix)
    ]
    if len(left) == 1:
        return left[0]
    if not pairs:
        raise UserError(
            f"No importer knows this file: it holds {len(checkpoint.tensors)} tensors and {len(encoders)} transformers "
            f"of MONAI's kind.",
            f"What can be imported: {', '.join(importer.TITLE for importer in IMPORTERS)}.",
            "unknown-weights",
        )
    choices = "; ".join(f"--source {importer.NAME} --prefix {found.root or repr('')}" for importer, found in pairs)
    raise UserError(
        f"The file holds {len(pairs)} networks that can be imported"
        + (" and none of them is the chosen one." if not left else "."),
        f"Choose one: {choices}.",
        "ambiguous-weights",
    )
