"""Weights move to networks of another window, patch size or number of channels, and the report says what happened."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")
pytestmark = pytest.mark.train

from mimseg.errors import UserError  # noqa: E402
from mimseg.networks.unetr import UNETR  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.start.transfer import (  # noqa: E402
    is_used_in,
    resize_kernel,
    spread_channels,
    transfer,
)

POSITIONS, PATCH_KERNEL = UnetrSettings.position_embeddings, UnetrSettings.patch_kernel

SHAPE = UnetrSettings(
    window=(32, 32, 32), patch_size=16, hidden_size=24, mlp_size=24, heads=2, feature_size=2, layers=5
)


def weights_of(shape: UnetrSettings, encoder_only: bool = True) -> dict[str, Any]:
    torch.manual_seed(0)
    state = UNETR(shape).state_dict()
    return {name: tensor for name, tensor in state.items() if not encoder_only or name.startswith("vit.")}


def moved(changes: dict[str, Any], encoder_only: bool = True, source: UnetrSettings = SHAPE, **options: Any) -> Any:
    torch.manual_seed(1)
    shape = replace(SHAPE, **changes)
    network = UNETR(shape).eval()
    return network, transfer(network, shape, weights_of(source, encoder_only), source, "a run", **options)


def test_the_report_counts_the_encoder_and_names_the_rest() -> None:
    network, report = moved({})
    expected = sum(is_used_in(name, "vit.") for name in network.state_dict())
    assert report.encoder_counts == (expected, expected)
    assert f"{expected} of {expected} encoder tensors arrived" in report.summary()
    assert all(not name.startswith("vit.") for name in report.random)
    assert "out.conv.conv.weight" in report.random
    assert set(report.to_json()) == {"source", "loaded", "resized", "dropped", "missing", "random"}


@pytest.mark.parametrize("window", [(48, 48, 48), (32, 32, 16), (64, 16, 32)])
def test_positions_follow_the_window(window: tuple[int, int, int]) -> None:
    network, report = moved({"window": window})
    grid = tuple(edge // 16 for edge in window)
    assert report.changes == {POSITIONS: f"from the grid 2 x 2 x 2 to {' x '.join(map(str, grid))}"}
    new = network.vit.patch_embedding.position_embeddings.reshape(*grid, -1)
    old = weights_of(SHAPE)[POSITIONS].reshape(2, 2, 2, -1)
    corner = old[tuple(slice(1 if count > 1 else 2) for count in grid)]  # one patch along an axis is the mean of both
    assert torch.allclose(new[0, 0, 0], corner.mean((0, 1, 2)), atol=1e-6)


def test_fixed_positions_are_made_anew_not_interpolated() -> None:
    fixed = replace(SHAPE, positions="sincos")
    network, report = moved({"positions": "sincos", "window": (48, 32, 32)}, source=fixed)
    assert "made anew" in report.changes[POSITIONS]
    expected = UNETR(replace(fixed, window=(48, 32, 32))).vit.patch_embedding.position_embeddings
    assert torch.equal(network.vit.patch_embedding.position_embeddings, expected)


@pytest.mark.parametrize("patch_size", [8, 12, 24, 32])
def test_patch_kernels_keep_their_response_to_a_constant_volume(patch_size: int) -> None:
    edge = 2 * patch_size
    network, report = moved({"patch_size": patch_size, "window": (edge, edge, edge)})
    assert f"from patch size 16 to {patch_size}" in report.changes[PATCH_KERNEL]
    source = UNETR(SHAPE)
    source.load_state_dict(weights_of(SHAPE), strict=False)
    with torch.no_grad():
        new = network.vit.patch_embedding(torch.full((1, 1, edge, edge, edge), 3.0))
        old = source.vit.patch_embedding(torch.full((1, 1, 32, 32, 32), 3.0))
    assert torch.allclose(new, old, atol=1e-4)


def test_a_kernel_that_grows_keeps_its_shape() -> None:
    ramp = torch.arange(8.0)[:, None, None].expand(1, 1, 8, 8, 8).clone()
    grown = resize_kernel(ramp, 16)
    assert grown.shape == (1, 1, 16, 16, 16)
    assert torch.all(grown[0, 0, 1:, 0, 0] >= grown[0, 0, :-1, 0, 0])
    assert grown.sum() == pytest.approx(float(ramp.sum()), rel=1e-5)


@pytest.mark.parametrize(("stem", "encoder_only"), [("patch", True), ("patch", False), ("convolution", False)])
def test_first_layers_see_more_channels_as_they_saw_the_mean(stem: str, encoder_only: bool) -> None:
    source = replace(SHAPE, stem=stem)
    network, report = moved({"stem": stem, "channels": 4}, encoder_only, source)
    changed = {name for name, change in report.changes.items() if change == "from 1 to 4 channels"}
    first = PATCH_KERNEL if stem == "patch" else "vit.patch_embedding.stem.stages.0.0.weight"
    entries = set() if encoder_only else {"encoder1.layer.conv1.conv.weight", "encoder1.layer.conv3.conv.weight"}
    assert changed == {first, *entries}
    original = UNETR(source).eval()
    original.load_state_dict(weights_of(source), strict=False)
    volume = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        assert torch.allclose(network.vit(volume.expand(-1, 4, -1, -1, -1))[0], original.vit(volume)[0], atol=1e-4)


def test_fewer_channels_get_the_mean_kernel() -> None:
    kernel = torch.randn(5, 4, 2, 2, 2)
    spread = spread_channels(kernel, 1)
    assert torch.allclose(spread[:, 0], kernel.sum(1), atol=1e-6)
    assert torch.allclose(spread_channels(kernel, 4).sum(1), kernel.sum(1), atol=1e-6)


def test_an_output_layer_for_other_structures_is_dropped_with_the_reason() -> None:
    _, report = moved({"classes": 5}, encoder_only=False)
    assert report.dropped == {
        "out.conv.conv.weight": "shape (2, 2, 1, 1, 1) instead of (5, 2, 1, 1, 1)",
        "out.conv.conv.bias": "shape (2,) instead of (5,)",
    }
    assert report.random == ["out.conv.conv.bias", "out.conv.conv.weight"]
    assert not report.missing


def test_norms_for_cross_attention_count_neither_as_arrived_nor_as_missing() -> None:
    weights = {name: tensor for name, tensor in weights_of(SHAPE).items() if "norm_cross_attn" not in name}
    weights["vit.blocks.0.cross_attn.to_q.weight"] = torch.ones(24, 24)
    network = UNETR(SHAPE)
    report = transfer(network, SHAPE, weights, SHAPE, "an old run")
    assert not report.missing
    assert not any("norm_cross_attn" in name for name in report.random)
    assert report.encoder_counts[0] == len(weights) - 1
    assert report.dropped == {"vit.blocks.0.cross_attn.to_q.weight": "never used without cross attention"}


@pytest.mark.parametrize(
    "changes", [{"hidden_size": 48}, {"layers": 6}, {"stem": "convolution"}, {"class_token": True}, {"mlp_size": 48}]
)
def test_an_incomplete_encoder_is_an_error_unless_it_is_allowed(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="encoder tensors did not arrive from a run") as refusal:
        moved(changes)
    assert refusal.value.code == "transfer-incomplete"
    assert "--allow-incomplete" in refusal.value.hint
    _, report = moved(changes, allow_incomplete=True)
    arrived, expected = report.encoder_counts
    assert len(report.missing) == expected - arrived > 0


def test_a_class_token_that_the_network_lacks_is_dropped_with_the_reason() -> None:
    _, report = moved({}, source=replace(SHAPE, class_token=True))
    assert report.dropped == {"vit.cls_token": "the network has no class token"}
