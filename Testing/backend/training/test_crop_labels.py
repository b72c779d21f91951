"""Labels of turned crops: the vote of eight voxels is what interpolating class by class gives."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from mimseg.training.augmentation import (  # noqa: E402
    AugmentationSettings,
    sample,
    sample_labels,
    sampling_points,
)


def _class_by_class(label: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """The class of the largest linearly interpolated share; outside of the volume is background."""
    padded = torch.nn.functional.pad(label, (2,) * 6)
    shares = [sample((padded[None] == value).double(), points.double() + 2, "bilinear") for value in range(8)]
    shares[0] = 1 - sum(shares[1:])
    return torch.stack(shares).argmax(dim=0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("reach", [0, 6])
def test_the_vote_is_the_largest_interpolated_share(seed: int, reach: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(8, (9, 7, 8), generator=generator).to(torch.uint8)
    label[2:5] = 3
    centre = (torch.tensor(label.shape) - 1) / 2 + reach
    points = sampling_points((10, 8, 9), centre, AugmentationSettings(spatial_share=1), generator)
    voted, expected = sample_labels(label, points).long(), _class_by_class(label, points)
    assert voted.shape == (1, 10, 8, 9)
    assert (voted != expected).float().mean() < 1e-3  # ties, and float against double


def test_far_outside_is_background() -> None:
    label = torch.full((4, 4, 4), 5, dtype=torch.uint8)
    for shift in (-60.0, 60.0):
        points = torch.full((2, 2, 2, 3), shift)
        assert not sample_labels(label, points).any()
