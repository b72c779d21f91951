"""Shape, names and outputs of UNETR and its encoder."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from mimseg.errors import UserError  # noqa: E402
from mimseg.networks.positions import patchify, project_patches, resize_positions, unpatchify  # noqa: E402
from mimseg.networks.settings import PATCH_SIZES  # noqa: E402
from mimseg.networks.unetr import UNETR  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.networks.vit import ViT  # noqa: E402

SMALL = {"hidden_size": 48, "mlp_size": 96, "heads": 6, "feature_size": 4}


def test_weights_move_between_our_unetr_and_monais_and_outputs_agree() -> None:
    from monai.networks import nets

    torch.manual_seed(0)
    theirs = nets.UNETR(2, 3, (32, 16, 48), feature_size=4, hidden_size=48, mlp_dim=96, num_heads=6).eval()
    ours = UNETR(UnetrSettings(window=(32, 16, 48), channels=2, classes=3, **SMALL)).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    volume = torch.randn(2, 2, 32, 16, 48)
    with torch.no_grad():
        assert torch.allclose(ours(volume), theirs(volume), atol=1e-5)
        fresh = nets.UNETR(2, 3, (32, 16, 48), feature_size=4, hidden_size=48, mlp_dim=96, num_heads=6).eval()
        assert not torch.allclose(fresh(volume), theirs(volume), atol=1e-2)


@pytest.mark.parametrize("patch_size", PATCH_SIZES)
@pytest.mark.parametrize("stem", ["patch", "convolution"])
@pytest.mark.parametrize(("positions", "channels"), [("learned", 1), ("sincos", 4)])
def test_logits_have_the_size_of_the_window(patch_size: int, stem: str, positions: str, channels: int) -> None:
    settings = UnetrSettings(
        window=(2 * patch_size, patch_size, 3 * patch_size), patch_size=patch_size, channels=channels, classes=5,
        layers=5, stem=stem, positions=positions, **SMALL,
    )  # fmt: skip
    logits = UNETR(settings)(torch.randn(1, channels, *settings.window))
    assert logits.shape == (1, 5, *settings.window)


def test_every_trainable_parameter_receives_a_gradient() -> None:
    for stem in ("patch", "convolution"):
        network = UNETR(UnetrSettings(window=(16, 16, 16), patch_size=8, layers=3, stem=stem, **SMALL))
        network(torch.randn(1, 1, 16, 16, 16)).square().mean().backward()
        without = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
        assert without == []


def test_positions_keep_their_corners_apart_when_the_grid_grows() -> None:
    old, new = (2, 3, 4), (4, 3, 8)
    ramp = torch.arange(2.0)[:, None, None].expand(old).reshape(1, -1, 1)
    resized = resize_positions(ramp, old, new).reshape(new)
    assert torch.all(resized[1:] >= resized[:-1])
    assert resized.min() == 0
    assert resized.max() == 1
    assert torch.equal(resize_positions(ramp, old, old), ramp)


def test_patches_reassemble_to_the_volume() -> None:
    volume = torch.randn(2, 3, 16, 8, 24)
    patches = patchify(volume, 8)
    assert patches.shape == (2, 2 * 1 * 3, 8**3 * 3)
    assert torch.equal(unpatchify(patches, 8, (2, 1, 3), 3), volume)
    # z runs fastest, as in the encoder's own token order
    assert torch.equal(patches[0, 1].reshape(8, 8, 8, 3)[..., 0], volume[0, 0, :8, :, 8:16])


@pytest.mark.parametrize("stem", ["patch", "convolution"])
def test_hidden_voxels_never_reach_the_encoder(stem: str) -> None:
    settings = UnetrSettings(window=(16, 16, 16), patch_size=8, layers=3, stem=stem, **SMALL)
    encoder = ViT(settings).eval()
    hidden = torch.zeros(1, 8, dtype=torch.bool)
    hidden[0, :6] = True
    volume = torch.randn(1, 1, 16, 16, 16, requires_grad=True)
    encoder.encode_visible(volume, hidden).square().sum().backward()
    assert volume.grad is not None
    touched = patchify(volume.grad, 8).abs().amax(dim=-1)[0] > 0
    assert torch.equal(touched, ~hidden[0])


@pytest.mark.parametrize("channels", [1, 3])
def test_visible_patches_alone_are_embedded_as_the_convolution_embeds_all(channels: int) -> None:
    settings = UnetrSettings(window=(16, 24, 32), patch_size=8, channels=channels, layers=3, stem="patch", **SMALL)
    encoder = ViT(settings).eval()
    volume, hidden = torch.randn(2, channels, *settings.window), torch.zeros(2, settings.tokens, dtype=torch.bool)
    projection: Any = encoder.patch_embedding.get_submodule("patch_embeddings")
    every = projection(volume).flatten(2).transpose(1, 2)
    visible = torch.rand(2, settings.tokens) < 0.4
    assert torch.allclose(project_patches(projection, volume, visible), every[visible], atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(encoder.encode_visible(volume, hidden), encoder(volume)[0], atol=1e-5)
        hidden[0, [0, 3, 7]], hidden[1, [1, 3, 11]] = True, True
        tokens = encoder.embed(volume)[0][~hidden].reshape(2, -1, 48)
        assert torch.allclose(encoder.encode_visible(volume, hidden), encoder._encode(tokens, True), atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [{"patch_size": 7}, {"window": (96, 96, 90)}, {"heads": 5}, {"stem": "wavelet"}, {"layers": 2}, {"classes": 0}],
)
def test_impossible_sizes_are_refused_with_a_remedy(changes: dict) -> None:
    with pytest.raises(UserError) as refusal:
        UnetrSettings(**changes)
    assert refusal.value.hint


def test_settings_survive_json_and_unknown_entries_are_refused() -> None:
    settings = UnetrSettings(window=(16, 32, 48), stem="convolution")
    assert UnetrSettings.from_json(settings.to_json()) == settings
    with pytest.raises(UserError, match="unknown entries: novelty"):
        UnetrSettings.from_json({**settings.to_json(), "novelty": 1})
