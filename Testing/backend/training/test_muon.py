"""The optimiser: orthogonal steps for matrices and kernels, AdamW for the rest, and exact resuming."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from mimseg.errors import UserError  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.networks.unetr import UNETR  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.loop import Budget, LoopSettings, Task, Training, make_fabric  # noqa: E402
from mimseg.training.optimiser import muon  # noqa: E402
from mimseg.training.optimiser.muon import Muon, make_optimizer, orthogonalized  # noqa: E402
from mimseg.training.optimiser.schedule import Schedule, parameter_groups  # noqa: E402


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-3), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("shape", [(8, 8), (4, 60), (60, 4)])
def test_orthogonalized_keeps_directions_and_levels_their_sizes(
    shape: tuple[int, int], dtype: torch.dtype, error: float
) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape) * 7
    u, sizes, v = torch.linalg.svd(matrix, full_matrices=False)
    result = orthogonalized(matrix, dtype)
    assert result.dtype == dtype
    inner = u.T @ result.float() @ v.T
    kept = sizes > 0.1 * sizes.max()
    assert (inner.diagonal()[kept] > 0.6).all()
    assert (inner.diagonal() < 1.3).all()
    assert (inner - torch.diag(inner.diagonal())).abs().max() < error


def groups_of(kernel: torch.Tensor, bias: torch.Tensor, decay: float = 0.0) -> list[dict]:
    shared = {"lr": 0.01, "weight_decay": decay}
    return [{"params": [kernel], "muon": True, **shared}, {"params": [bias], "muon": False, **shared}]


def test_a_step_of_a_kernel_has_the_size_of_adams() -> None:
    torch.manual_seed(0)
    kernel, bias = (torch.nn.Parameter(torch.zeros(shape)) for shape in ((6, 4, 3, 3, 3), (6,)))
    optimizer = make_optimizer(groups_of(kernel, bias), (0.9, 0.98))
    assert isinstance(optimizer, Muon)
    kernel.grad, bias.grad = torch.randn_like(kernel) * 1e-4, torch.randn_like(bias) * 1e4
    optimizer.step()
    assert kernel.detach().square().mean().sqrt() == pytest.approx(0.2 * 0.01, rel=0.25)
    assert bias.detach().abs().tolist() == pytest.approx([0.01] * 6, rel=1e-3)
    assert (kernel.detach() * kernel.grad).sum() < 0, "it goes downhill"


def test_a_step_in_bfloat16_is_about_the_same() -> None:
    torch.manual_seed(0)
    gradient, made = torch.randn(24, 40), []
    for dtype in (torch.float32, torch.bfloat16):
        kernel, bias = torch.nn.Parameter(torch.zeros(24, 40)), torch.nn.Parameter(torch.zeros(24))
        kernel.grad = gradient.clone()
        make_optimizer(groups_of(kernel, bias), (0.9, 0.98), dtype=dtype).step()
        made.append(kernel.detach())
    difference = float((made[0] - made[1]).norm() / made[0].norm())
    assert 0 < difference < 0.03


@pytest.mark.parametrize(("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_a_training_multiplies_as_it_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, dtype: torch.dtype
) -> None:
    seen = set()
    monkeypatch.setattr(
        muon, "orthogonalized", lambda matrix, dtype: seen.add(dtype) or torch.zeros_like(matrix, dtype=dtype)
    )
    network = torch.nn.Linear(4, 4)
    group = {"params": [network.weight], "muon": True, "peak_lr": 0.1, "lr": 0.1, "weight_decay": 0.0}
    task = Task(
        network, [group], lambda step: (torch.ones(2, 4), None), lambda module, batch: module(batch[0]).square().mean(),
        lambda average, step: {}, "none", False,
    )  # fmt: skip
    settings = LoopSettings(Budget(1), Schedule(warmup=0, floor=1), 0)
    Training(make_fabric("cpu", precision), task, settings, tmp_path, Reporter(), False).run()
    assert seen == {dtype}


def test_the_adam_part_is_torchs() -> None:
    torch.manual_seed(0)
    start, unused = torch.randn(5), torch.nn.Parameter(torch.zeros(2, 2))
    own, other = (torch.nn.Parameter(start.clone()) for _ in range(2))
    ours = Muon(groups_of(unused, own, 0.1), betas=(0.9, 0.98))
    theirs = torch.optim.AdamW([{"params": [other], "lr": 0.01, "weight_decay": 0.1}], betas=(0.9, 0.98))
    for _ in range(4):
        gradient = torch.randn(5)
        own.grad, other.grad = gradient.clone(), gradient.clone()
        ours.step()
        theirs.step()
    torch.testing.assert_close(own, other)


def test_a_restored_optimiser_goes_on_exactly() -> None:
    def run(optimizer: torch.optim.Optimizer, parameters: list, steps: range) -> None:
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            for parameter in parameters:
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()

    def fresh() -> list:
        return [torch.nn.Parameter(torch.ones(3, 5)), torch.nn.Parameter(torch.ones(3))]

    whole, stopped, resumed = fresh(), fresh(), fresh()
    run(Muon(groups_of(*whole)), whole, range(6))
    first = Muon(groups_of(*stopped))
    run(first, stopped, range(3))
    second = Muon(groups_of(*resumed))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for target, source in zip(resumed, stopped, strict=True):
        target.data.copy_(source.data)
    run(second, resumed, range(3, 6))
    for one, other in zip(whole, resumed, strict=True):
        assert torch.equal(one, other)


def test_which_parameters_are_muons() -> None:
    shape = UnetrSettings(
        window=(16, 16, 16), patch_size=8, hidden_size=24, mlp_size=24, heads=2, layers=3, feature_size=2,
        stem="convolution",
    )  # fmt: skip
    network = UNETR(shape)
    names = {id(value): name for name, value in network.named_parameters()}
    found = {
        names[id(value)]: group["muon"]
        for group in parameter_groups(network, 1e-3, 0.05, shape, 0.9, set(), "muon")
        for value in group["params"]
    }
    assert found["vit.blocks.0.mlp.linear1.weight"]
    assert found["decoder2.conv_block.conv1.conv.weight"]
    assert not found["out.conv.conv.weight"]
    assert not found["vit.patch_embedding.position_embeddings"]
    assert not any(muon for name, muon in found.items() if name.endswith("bias"))
    plain = parameter_groups(network, 1e-3, 0.05, shape, 0.9, set())
    assert isinstance(make_optimizer(plain, (0.9, 0.98)), torch.optim.AdamW)


def test_an_unknown_optimiser_is_refused() -> None:
    with pytest.raises(UserError, match="sgd"):
        Schedule(optimizer="sgd")
