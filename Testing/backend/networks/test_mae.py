"""Masked auto-encoder: masks, loss, learning."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from mimseg.errors import UserError  # noqa: E402
from mimseg.networks.methods.mae import MaeSettings, MaskedAutoencoder  # noqa: E402
from mimseg.networks.methods.reconstruction import random_mask  # noqa: E402
from mimseg.networks.positions import patchify  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402

SHAPE = UnetrSettings(window=(16, 16, 16), patch_size=8, layers=3, hidden_size=48, mlp_size=96, heads=6, feature_size=4)


def mask(seed: int = 0, ratio: float = 0.75, patches: int = 8) -> torch.Tensor:
    return random_mask(3, patches, ratio, torch.Generator().manual_seed(seed))


def test_masks_hide_the_asked_share_in_every_volume() -> None:
    for ratio in (0.125, 0.5, 0.75, 0.9):
        hidden = mask(ratio=ratio, patches=216)
        assert hidden.sum(dim=1).tolist() == [int(ratio * 216)] * 3


def test_the_same_seed_gives_the_same_masks_and_volumes_get_different_ones() -> None:
    assert torch.equal(mask(5, patches=216), mask(5, patches=216))
    assert not torch.equal(mask(5, patches=216), mask(6, patches=216))
    assert not torch.equal(mask(5, patches=216)[0], mask(5, patches=216)[1])


@pytest.mark.parametrize("ratio", [0.0, 0.01, 1.0])
def test_masks_that_hide_nothing_or_everything_are_refused(ratio: float) -> None:
    with pytest.raises(UserError, match="of 8 patches"):
        mask(ratio=ratio)


def test_loss_is_the_mean_absolute_error_of_hidden_patches_only() -> None:
    network = MaskedAutoencoder(SHAPE, MaeSettings(decoder_size=48)).eval()
    volume, hidden = torch.randn(3, 1, 16, 16, 16), mask()
    with torch.no_grad():
        predicted = network.predict(volume, hidden)
        expected = (predicted[hidden] - patchify(volume, 8)[hidden]).abs().mean()
        assert torch.allclose(network(volume, hidden), expected)


def test_normalised_targets_have_mean_0_and_deviation_1_in_each_patch() -> None:
    network = MaskedAutoencoder(SHAPE, MaeSettings(decoder_size=48, target="normalized"))
    target = network.target(3 + 5 * torch.randn(2, 1, 16, 16, 16))
    assert torch.allclose(target.mean(-1), torch.zeros(2, 8), atol=1e-4)
    assert torch.allclose(target.std(-1), torch.ones(2, 8), atol=1e-3)


def test_the_final_normalisation_is_trained_unless_switched_off() -> None:
    for used in (True, False):
        network = MaskedAutoencoder(SHAPE, MaeSettings(decoder_size=48, encoder_norm=used))
        network(torch.randn(3, 1, 16, 16, 16), mask()).backward()
        assert (network.encoder.norm.weight.grad is not None) == used


@pytest.mark.parametrize("stem", ["patch", "convolution"])
def test_it_learns_to_reconstruct_one_volume_and_gradients_reach_the_encoder(stem: str) -> None:
    from dataclasses import replace

    torch.manual_seed(0)
    network = MaskedAutoencoder(replace(SHAPE, stem=stem), MaeSettings(decoder_size=48))
    axis = torch.linspace(-1, 1, 16)
    volume = (axis[:, None, None] + axis[None, :, None] * 0.5).expand(1, 1, 16, 16, 16)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(60):
        loss = network(volume, random_mask(1, 8, 0.5, generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    assert all(p.grad is not None for n, p in network.encoder.named_parameters() if p.requires_grad)


def test_reconstruction_leaves_visible_patches_as_they_are() -> None:
    network = MaskedAutoencoder(SHAPE, MaeSettings(decoder_size=48)).eval()
    volume, hidden = torch.randn(3, 1, 16, 16, 16), mask()
    rebuilt = network.reconstruct(volume, hidden)
    same = (patchify(rebuilt, 8) == patchify(volume, 8)).all(dim=-1)
    assert torch.equal(same, ~hidden)
