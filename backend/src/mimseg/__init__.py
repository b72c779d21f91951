"""mimseg: segmentation of CT and MR volumes by UNETR with masked-image-modelling pre-training.

Importing this package imports neither torch nor monai; see `mimseg.cli` for the commands.
Research use only.
"""

__version__ = "0.1.0"
