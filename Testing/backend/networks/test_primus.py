"""Primus computes what the published network computes, is pre-trained by every method, and runs without PyTorch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")
pytestmark = pytest.mark.train

from method_tools import SMALL, build  # noqa: E402

from mimseg.networks.methods import METHODS  # noqa: E402
from mimseg.networks.primus_settings import PrimusSettings  # noqa: E402
from mimseg.training.start.transfer import transfer  # noqa: E402

SHAPE = PrimusSettings(window=(16, 24, 16), channels=2, classes=3, hidden_size=48, heads=2, layers=3)


def published(shape: PrimusSettings) -> Any:
    """The same network of `dynamic_network_architectures`, every parameter random."""
    pytest.importorskip("timm", reason="dynamic_network_architectures needs timm")
    primus = pytest.importorskip("dynamic_network_architectures.architectures.primus")
    torch.manual_seed(0)
    network = primus.Primus(
        shape.channels, shape.hidden_size, (shape.patch_size,) * 3, shape.classes, shape.layers, shape.heads,
        shape.window, init_values=0.1 if shape.layer_scale else None, scale_attn_inner=shape.attention_norm,
    )  # fmt: skip
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


@pytest.mark.parametrize(
    "changes",
    [{}, {"layer_scale": False, "attention_norm": False}, {"patch_size": 16, "window": (32, 16, 48), "layers": 4}],
)
def test_names_and_logits_equal_those_of_the_published_network(changes: dict[str, Any]) -> None:
    shape = replace(SHAPE, **changes)
    theirs = published(shape)
    weights = {name: value for name, value in theirs.state_dict().items() if name != "mask_token"}
    ours = shape.build().eval()
    ours.load_state_dict(
        {name if name.startswith("up_projection.") else f"vit.{name}": value for name, value in weights.items()}
    )
    volume = torch.randn(2, 2, *shape.window)
    with torch.no_grad():
        expected, found = theirs(volume), ours(volume)
    assert float(expected.std()) > 0.01
    assert float((found - expected).abs().max()) < 1e-4 * float(expected.abs().max())


def test_visible_patches_alone_are_encoded_as_in_the_whole_if_none_is_hidden() -> None:
    encoder = SHAPE.build_encoder().eval()
    volume, hidden = torch.randn(2, 2, *SHAPE.window), torch.zeros(2, SHAPE.tokens, dtype=torch.bool)
    with torch.no_grad():
        whole = encoder(volume)[0]
        assert torch.allclose(encoder.encode_visible(volume, hidden), whole, atol=1e-5)
        assert torch.allclose(encoder.encode_masked(volume, hidden, torch.zeros(1, 1, 48)), whole, atol=1e-5)
        hidden[0, 0], hidden[1, 5] = True, True  # others in each row: every patch keeps its own position
        tokens = encoder.embed(volume)[~hidden].reshape(2, -1, 48)
        turned = encoder.get_buffer("rotation").expand(2, -1, -1)[~hidden].reshape(2, 1, tokens.shape[1], -1)
        expected = encoder._encode(tokens, turned, True)
        assert torch.allclose(encoder.encode_visible(volume, hidden), expected, atol=1e-5)
        hidden[:] = False
        hidden[:, 3] = True
        moved = volume.clone()
        moved[:, :, :8, 8:16, 8:16] += 5  # the hidden patch: 3 = (0, 1, 1)
        assert torch.equal(encoder.encode_visible(volume, hidden), encoder.encode_visible(moved, hidden))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_pre_trains_it(name: str) -> None:
    network = build(name, replace(SHAPE, hidden_size=48), **SMALL.get(name, {}))
    crops = torch.randn(2 * network.views, 2, *SHAPE.window)
    network.recompute_activations()
    network.train()(crops, network.draw_mask(len(crops), torch.Generator().manual_seed(0))).backward()
    gradients = {key: value.grad for key, value in network.encoder.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())
    assert float(gradients["eva.blocks.0.attn.q_proj.weight"].abs().max()) > 0


@pytest.mark.parametrize("decoder", ["light", "unetr"])
def test_openvino_computes_the_same(tmp_path: Path, decoder: str) -> None:
    from bundle_files import describe

    from mimseg.bundle.writer import write_bundle
    from mimseg.inference.engines.openvino_engine import OpenVinoEngine
    from mimseg.inference.engines.torch_engine import TorchEngine

    shape = replace(SHAPE, channels=1, decoder=decoder, feature_size=4)
    torch.manual_seed(0)
    description = describe(network=shape.to_json(), window=shape.window)
    bundle = write_bundle(tmp_path / "model", shape.build(), description)
    batch = np.random.default_rng(0).normal(size=(2, 1, *shape.window)).astype(np.float32)
    logits, expected = OpenVinoEngine(bundle.onnx_path)(batch), TorchEngine(bundle)(batch)
    assert np.abs(logits - expected).max() < 1e-4 * np.abs(expected).max()


def test_another_window_than_that_of_the_pre_training_interpolates_positions() -> None:
    torch.manual_seed(0)
    source = SHAPE.build()
    wide = replace(SHAPE, window=(24, 24, 32))
    target = wide.build().eval()
    report = transfer(target, wide, source.state_dict(), SHAPE, "a run")
    assert report.changes == {"vit.eva.pos_embed": "from the grid 2 x 3 x 2 to 3 x 3 x 4"}
    assert report.encoder_counts[0] == report.encoder_counts[1]
    with torch.no_grad():
        assert target(torch.zeros(1, 2, *wide.window)).shape == (1, 3, *wide.window)


def test_branches_are_left_out_in_training_only() -> None:
    network = replace(SHAPE, drop_path=0.5).build()
    volume = torch.randn(1, 2, *SHAPE.window)
    with torch.no_grad():
        network.eval()
        assert torch.equal(network(volume), network(volume))
        network.train()
        assert not torch.equal(network(volume), network(volume))
