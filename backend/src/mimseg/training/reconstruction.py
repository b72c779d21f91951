"""A picture of what a masked image model sees and makes of it: original, masked, reconstructed."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from mimseg.files import replacing
from mimseg.networks.methods.reconstruction import MaskedReconstruction
from mimseg.networks.positions import mask_volume


def draw_reconstruction(path: Path, network: MaskedReconstruction, crops: Tensor, hidden: Tensor) -> None:
    """Write a PNG with one row per crop: middle slices of original, masked and reconstructed volume.

    Args:
        path: The PNG.
        network: Any state.
        crops: `(B, C, X, Y, Z)` on the network's device.
        hidden: `(B, N)`, True where hidden.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return
    crops, hidden = crops[:4], hidden[:4]
    settings = network.network
    with torch.no_grad():
        rebuilt = network.reconstruct(crops, hidden)
    masked = mask_volume(crops, hidden, settings.patch_size, settings.grid)
    figure = Figure(figsize=(7.5, 2.6 * len(crops)), layout="constrained")
    FigureCanvasAgg(figure)
    for row in range(len(crops)):
        middle = crops.shape[-1] // 2
        low, high = float(crops[row, 0].min()), float(crops[row, 0].max())
        for column, (title, volume) in enumerate((("original", crops), ("masked", masked), ("reconstructed", rebuilt))):
            axes = figure.add_subplot(len(crops), 3, 3 * row + column + 1)
            axes.imshow(volume[row, 0, :, :, middle].cpu().float().T, cmap="gray", origin="lower", vmin=low, vmax=high)
            axes.set_axis_off()
            if row == 0:
                axes.set_title(title)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=70)
