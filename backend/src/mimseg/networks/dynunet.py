"""DynUNet, MONAI's build of nnU-Net's network: the plain U-Net that a transformer has to beat.

Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation (Nature
Methods 2021). Without deep supervision, residual blocks and nnU-Net's own training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mimseg.errors import UserError
from mimseg.networks.settings import NetworkSettings

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class DynUnetSettings(NetworkSettings):
    """Sizes of a DynUNet.

    Attributes:
        features: Channels at each resolution, finest first; each further one halves the resolution.
    """

    features: tuple[int, ...] = (16, 32, 64, 128)

    name: ClassVar[str] = "dynunet"
    title: ClassVar[str] = "DynUNet"
    reference: ClassVar[str] = (
        "Isensee F. et al. nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation. "
        "Nature Methods 2021."
    )
    # `small` trains in minutes on two CPU cores; `base` has the widths that nnU-Net plans for a window of 96 voxels.
    sizes: ClassVar[dict[str, dict[str, Any]]] = {"small": {}, "base": {"features": (32, 64, 128, 256, 320)}}
    entry_kernels: ClassVar[tuple[str, ...]] = (
        "input_block.conv1.conv.weight",
        "skip_layers.downsample.conv1.conv.weight",
    )

    def __post_init__(self) -> None:
        if len(self.features) < 3 or min(self.features) < 1:
            raise UserError(f"DynUNet cannot have the channels {self.features}.", "Give three or more numbers.")
        super().__post_init__()

    @property
    def divisor(self) -> int:
        return 2 ** (len(self.features) - 1)

    @property
    def output_layer(self) -> str:
        return "output_block."

    def in_words(self) -> str:
        return f"DynUNet with {' - '.join(map(str, self.features))} channels from the finest resolution to the coarsest"

    def build(self) -> nn.Module:
        from monai.networks.nets.dynunet import DynUNet

        strides = [1, *[2] * (len(self.features) - 1)]
        return DynUNet(
            spatial_dims=3, in_channels=self.channels, out_channels=self.classes, kernel_size=[3] * len(strides),
            strides=strides, upsample_kernel_size=strides[1:], filters=list(self.features), norm_name="instance",
            res_block=False, deep_supervision=False,
        )  # fmt: skip
