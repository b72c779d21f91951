"""What pre-training methods compute: masks, heads, losses, the contrast of NT-Xent, the cost that is reported."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from method_tools import SHAPE, build  # noqa: E402
from torch.nn import functional  # noqa: E402

from mimseg.cli.options.presets import METHOD_SETTINGS, PRETRAIN  # noqa: E402
from mimseg.errors import UserError  # noqa: E402
from mimseg.networks.methods import load_method, method_settings  # noqa: E402
from mimseg.networks.methods.simclr import nt_xent  # noqa: E402
from mimseg.networks.positions import patchify  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.loop import Budget, make_fabric  # noqa: E402
from mimseg.training.memory.cost import measure_cost  # noqa: E402


@pytest.mark.parametrize("name", ["mae", "simmim"])
def test_masks_follow_the_seed(name: str) -> None:
    network = build(name, replace(SHAPE, window=(32, 32, 32)))
    masks = [network.draw_mask(2, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert masks[0].sum(dim=1).tolist() == [48, 48]


def test_hidden_voxels_do_not_reach_simmims_prediction_of_them() -> None:
    for stem in ("patch", "convolution"):
        network = build("simmim", replace(SHAPE, stem=stem)).eval()
        volume = torch.randn(1, 1, 16, 16, 16, requires_grad=True)
        hidden = torch.tensor([[True] * 5 + [False] * 3])
        network.predict(volume, hidden).square().sum().backward()
        touched = patchify(volume.grad, 8).abs().amax(dim=-1) > 0
        assert torch.equal(touched, ~hidden)


@pytest.mark.parametrize("patch_size", [8, 12, 16, 24, 32])
def test_every_head_predicts_every_patch_size(patch_size: int) -> None:
    shape = replace(SHAPE, window=(2 * patch_size, patch_size, patch_size), patch_size=patch_size, layers=5, channels=2)
    volume, hidden = torch.randn(1, 2, *shape.window), torch.tensor([[True, False]])
    for name, head in (
        ("mae", {}),
        *(("simmim", {"head": h}) for h in ("linear", "perceptron", "transposed_convolution")),
    ):
        predicted = build(name, shape, **head).predict(volume, hidden)
        assert predicted.shape == (1, 2, 2 * patch_size**3)


def test_losses_are_what_their_names_say() -> None:
    volume, hidden = torch.randn(2, 1, 16, 16, 16), torch.tensor([[True] * 6 + [False] * 2] * 2)
    for loss in ("l1", "l2"):
        for region in ("masked", "all"):
            network = build("simmim", loss=loss, loss_on=region).eval()
            with torch.no_grad():
                difference = network.predict(volume, hidden) - patchify(volume, 8)
                chosen = difference[hidden] if region == "masked" else difference
                expected = chosen.abs().mean() if loss == "l1" else chosen.square().mean()
                assert float(network(volume, hidden)) == pytest.approx(float(expected), rel=1e-5)


def test_nt_xent_equals_its_formula_written_out() -> None:
    vectors = functional.normalize(torch.randn(6, 5, dtype=torch.float64), dim=1)
    total = 0.0
    for i in range(6):
        partner = (i + 3) % 6
        terms = {k: torch.exp(vectors[i] @ vectors[k] / 0.5) for k in range(6) if k != i}
        total += float(-torch.log(terms[partner] / sum(terms.values())))
    assert float(nt_xent(vectors, 0.5)) == pytest.approx(total / 6)
    with pytest.raises(UserError, match="one volume"):
        nt_xent(vectors[:2], 0.5)


def test_chunks_give_the_gradient_of_the_whole_batch() -> None:
    crops = torch.randn(8, 1, 16, 16, 16)
    gradients = []
    for chunk in (0, 3):
        network = build("simclr", chunk=chunk)
        network(crops, None).backward()
        gradients.append(network.encoder.blocks[0].mlp.linear1.weight.grad)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-7)
    assert float(gradients[0].abs().max()) > 1e-5


def test_few_negatives_are_warned_of() -> None:
    assert "only 2 others" in build("simclr").advice(2)
    assert build("simclr").advice(5) == ""
    assert build("mae").advice(1) == ""


def test_cost_counts_the_papers_parameters_and_arithmetic() -> None:
    """Decoder 512x8 at ViT-B/16, 96^3: 88.34 + 27.81 million parameters as in the release; MLPs counted by hand."""
    shape = UnetrSettings(classes=1)
    with torch.device("meta"):
        network = load_method("mae")(shape, method_settings("mae", METHOD_SETTINGS["paper"]["mae"]))
    trained = {n: p.numel() for n, p in network.named_parameters() if p.requires_grad}
    inside = sum(count for name, count in trained.items() if name.startswith("encoder."))
    assert inside == 88_340_736 - 2 * 768  # its final normalisation is not trained in that release
    assert sum(trained.values()) - inside == 27_813_888
    assert PRETRAIN["paper"]["learning_rate"] == 3e-4

    small = build("simmim", head="linear")
    fabric = make_fabric("cpu")
    example = torch.randn(1, 1, 16, 16, 16), torch.tensor([[True] * 4 + [False] * 4])
    one = measure_cost(fabric, small, small.encoder, 8, lambda m, b: m(*b), example, 1)
    ten = measure_cost(fabric, small, small.encoder, 8, lambda m, b: m(*b), example, 10)
    # Per token and pass: embedding and head 512 x 48; per block qkv, output, MLP; attention over 8 tokens.
    weights = 2 * 512 * 48 + 3 * (4 * 48 * 48 + 2 * 48 * 96)
    forward = 2 * 8 * weights + 3 * 2 * 2 * 8 * 8 * 48
    # Backward: twice that, without the gradient of the input voxels; flash attention recomputes once.
    expected = 3 * forward - 2 * 8 * 512 * 48 + 3 * 2 * 8 * 8 * 48
    assert one.gflop_per_step * 1e9 == pytest.approx(expected, rel=0.02)
    assert ten.gflop_per_step == pytest.approx(10 * one.gflop_per_step, rel=0.2)
    assert ten.memory_bytes > one.memory_bytes > 20 * sum(p.numel() for p in small.parameters() if p.requires_grad)
    assert one.expectation(Budget(steps=600))["expected_minutes"] == pytest.approx(10 * one.seconds_per_step, abs=0.06)
