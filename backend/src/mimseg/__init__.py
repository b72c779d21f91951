"""mimseg: segmentation of CT and MR volumes by networks that may be pre-trained with masked image modelling.

`mimseg.read` and `mimseg.open_model` are for Python programs (see `mimseg.library`), `mimseg.cli` has the commands.
Importing this package imports nothing else, neither torch nor monai. Research use only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimseg.library import Model, Segmentation, open_model, read

__version__ = "0.1.0"
__all__ = ["Model", "Segmentation", "__version__", "open_model", "read"]


def __getattr__(name: str) -> Any:
    """Load the library when one of its names is asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'mimseg' has no attribute {name!r}")
    from mimseg import library

    return getattr(library, name)
