"""Losses that make no one-hot volume: equal to MONAI's, gradients too; ignored voxels have no say."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from monai.losses import DiceCELoss, DiceLoss  # noqa: E402

from mimseg.data.labels.scheme import IGNORED  # noqa: E402
from mimseg.training.losses import dice_and_binary_cross_entropy, dice_and_cross_entropy  # noqa: E402

SIZE = (6, 5, 4)


def _drawn(outputs: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((2, outputs, *SIZE), generator=generator, requires_grad=True)
    return logits, torch.randint(classes, (2, 1, *SIZE), generator=generator).float()


def _gradient(value: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(value, logits)[0]


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_dice_and_cross_entropy_equal_monai(background: bool, channels_last: bool) -> None:
    logits, classes = _drawn(5, 4)  # the last class does not occur
    if channels_last:
        logits = logits.detach().contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    peer = DiceCELoss(
        include_background=background, to_onehot_y=True, softmax=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5
    )
    own, other = dice_and_cross_entropy(background)(logits, classes), peer(logits, classes)
    assert own.item() == pytest.approx(other.item(), abs=1e-6)
    assert torch.allclose(_gradient(own, logits), _gradient(other, logits), atol=1e-7)


def test_overlapping_structures_equal_monai() -> None:
    membership = np.array([[0, 1, 0, 1], [0, 0, 1, 1]], dtype=bool)
    logits, classes = _drawn(2, 4)
    target = torch.from_numpy(membership.T.astype(np.float32))[classes[:, 0].long()].movedim(-1, 1)
    dice = DiceLoss(sigmoid=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)
    other = dice(logits, target) + torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
    own = dice_and_binary_cross_entropy(membership)(logits, classes)
    assert own.item() == pytest.approx(other.item(), abs=1e-6)
    assert torch.allclose(_gradient(own, logits), _gradient(other, logits), atol=1e-7)


def _losses() -> list[tuple[str, object, int]]:
    membership = np.eye(5, dtype=bool)[1:]
    return [
        ("exclusive", dice_and_cross_entropy(), 5),
        ("overlapping", dice_and_binary_cross_entropy(membership), 4),
    ]


@pytest.mark.parametrize(("compute", "outputs"), [case[1:] for case in _losses()], ids=[case[0] for case in _losses()])
def test_ignored_voxels_have_no_say(compute, outputs: int) -> None:
    """The loss is that of the other voxels alone, and nothing pulls at the ignored ones."""
    logits, classes = _drawn(outputs, 5)
    classes[..., 3:, :, :] = IGNORED
    whole = compute(logits, classes)
    rest = compute(logits[:, :, :3], classes[:, :, :3])
    assert whole.item() == pytest.approx(rest.item(), abs=1e-6)
    assert not _gradient(whole, logits)[:, :, 3:].any()


@pytest.mark.parametrize(("compute", "outputs"), [case[1:] for case in _losses()], ids=[case[0] for case in _losses()])
def test_a_crop_of_ignored_voxels_only_teaches_nothing(compute, outputs: int) -> None:
    logits, classes = _drawn(outputs, 5)
    value = compute(logits, torch.full_like(classes, IGNORED))
    assert torch.isfinite(value)
    assert not _gradient(value, logits).any()


def test_balanced_voxels_count_by_the_square_root_of_their_class() -> None:
    logits, classes = _drawn(4, 4)
    classes[0, 0, 0] = IGNORED
    index, known = classes[:, 0].long(), classes[:, 0] != IGNORED
    entropy = torch.nn.functional.cross_entropy(logits, index.masked_fill(~known, 0), reduction="none")[known]
    counts = torch.bincount(index[known], minlength=4).float()
    weights = counts.rsqrt()[index[known]]
    plain = dice_and_cross_entropy()(logits, classes) - entropy.mean()
    balanced = dice_and_cross_entropy(balance=True)(logits, classes) - (weights * entropy).sum() / weights.sum()
    assert balanced.item() == pytest.approx(plain.item(), abs=1e-5)


@pytest.mark.parametrize(("balance", "difference"), [(False, 0.03), (True, 0.20)])
def test_in_parts_the_gradient_is_about_that_of_the_whole_batch(balance: bool, difference: float) -> None:
    """What docs/training.md says of memory that runs out: each crop shows a structure that the other does not."""
    classes = torch.zeros(2, 1, 16, 16, 16)
    classes[0, 0, :8], classes[0, 0, 8:10] = 1, 2
    classes[1, 0, :, :12], classes[1, 0, 12:14, 12:14, 12:14] = 1, 3
    logits = torch.randn(2, 4, 16, 16, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    compute = dice_and_cross_entropy(balance=balance)
    whole = _gradient(compute(logits, classes), logits)
    parts = [compute(logits[[crop]], classes[[crop]]) / 2 for crop in range(2)]
    found = float((_gradient(torch.stack(parts).sum(), logits) - whole).norm() / whole.norm())
    assert found == pytest.approx(difference, rel=0.2)
