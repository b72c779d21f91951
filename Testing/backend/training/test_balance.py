"""What `--balance` makes too large gets smaller when the training ends, as far as validation cases gain by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from synthetic import write_dataset  # noqa: E402

from mimseg import stopping  # noqa: E402
from mimseg.commands.finetune import network as network_module  # noqa: E402
from mimseg.commands.finetune.run import train  # noqa: E402
from mimseg.commands.finetune.settings import FinetuneSettings  # noqa: E402
from mimseg.errors import Stopped  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.networks.dynunet import DynUnetSettings  # noqa: E402
from mimseg.networks.primus_settings import PrimusSettings  # noqa: E402
from mimseg.networks.settings import NetworkSettings  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.budget import Budget  # noqa: E402
from mimseg.training.curves import Curves  # noqa: E402
from mimseg.training.losses import balance_offsets, dice_and_cross_entropy  # noqa: E402

NETWORKS: tuple[NetworkSettings, ...] = (
    UnetrSettings(window=(16, 16, 16), patch_size=8, layers=3, hidden_size=24, mlp_size=24, heads=2, feature_size=2),
    DynUnetSettings(window=(16, 16, 16), features=(2, 2, 2)),
    PrimusSettings(window=(16, 16, 16), hidden_size=24, heads=2, layers=3),
)


def test_a_class_is_lowered_by_half_the_logarithm_of_how_much_rarer_it_is() -> None:
    offsets = balance_offsets(torch.tensor([40000.0, 400.0, 0.0]))
    assert offsets.tolist() == pytest.approx([0.0, -0.5 * 4.60517, 0.0], abs=1e-4)


def test_a_blurred_structure_that_balance_made_too_large_comes_nearer_to_its_size() -> None:
    """Voxels whose grey value leaves open what they are: the weighed loss gives more of them to the rare structure."""
    torch.manual_seed(0)
    classes = (torch.rand(1, 1, 40, 40, 20) < 0.1).float()
    image = classes + 0.5 * torch.randn(classes.shape)
    network = torch.nn.Conv3d(1, 2, 1)
    optimizer = torch.optim.Adam(network.parameters(), 0.1)
    compute = dice_and_cross_entropy(balance=True)
    for _ in range(300):
        optimizer.zero_grad()
        compute(network(image), classes).backward()
        optimizer.step()
    logits = network(image).detach()
    true = float(classes.sum())
    counts = torch.tensor([classes.numel() - true, true])
    before = float((logits.argmax(1) == 1).sum()) / true
    after = float(((logits + 0.5 * balance_offsets(counts).view(1, 2, 1, 1, 1)).argmax(1) == 1).sum()) / true
    assert before > 1.15
    assert abs(after - 1) < abs(before - 1) / 2


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_validation_cases_choose_how_much_is_taken_back_in_the_last_bias(
    network: NetworkSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Curves, "_draw", lambda self: None)
    settings = FinetuneSettings(
        write_dataset(tmp_path / "data", 5), tmp_path / "none", Budget(1), None, network, window=(16, 16, 16),
        device="cpu", precision="32-true", batch=1, balance=True, validations=1,
    )  # fmt: skip
    asked: list[torch.Tensor] = []

    def prefer(share: float) -> None:
        """The validation cases score best with this share; the first score is that of the training itself."""
        shares = iter((0.0, *network_module.SHARES_TAKEN_BACK))

        def score(trained: torch.nn.Module, *_: object) -> float:
            asked.append(torch.cat([value.flatten() for value in trained.state_dict().values()]))
            return -abs(next(shares) - share)

        monkeypatch.setattr(network_module, "validation_dice", score)

    def trained(**changes: object) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
        made = train(replace(settings, **changes), Reporter())
        assert made is not None
        return made.network.state_dict(), made.record["finetuning"]

    prefer(0.0)
    before, record = trained()
    assert record["balance_taken_back"] == 0
    prefer(0.5)
    now, record = trained(output=tmp_path / "half")
    assert record["balance_taken_back"] == 0.5
    changed = [name for name in now if not torch.equal(now[name], before[name])]
    assert len(changed) == 1
    assert changed[0].startswith(network.output_layer)
    offsets = now[changed[0]] - before[changed[0]]
    assert offsets[0] == 0  # the background, of which there is most
    assert (offsets[1:] < -0.2).all()
    assert len({tuple(values.tolist()) for values in asked}) == len(network_module.SHARES_TAKEN_BACK)


def test_a_stop_while_it_is_chosen_is_heeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many validation cases take minutes."""
    monkeypatch.setattr(Curves, "_draw", lambda self: None)
    scores = iter((0.5, 0.5))

    def score(*_: object) -> float:
        if next(scores, None) is None:
            raise AssertionError("went on")
        return 0.5

    class StopAtTheSecond(Reporter):
        def progress(self, phase: str, done: float, total: float, **more: object) -> None:
            if phase == "score" and done == 0:
                stopping.request()

    monkeypatch.setattr(network_module, "validation_dice", score)
    settings = FinetuneSettings(
        write_dataset(tmp_path / "data", 5), tmp_path / "my", Budget(1), None, NETWORKS[1], window=(16, 16, 16),
        device="cpu", precision="32-true", batch=1, balance=True, validations=1,
    )  # fmt: skip
    try:
        with pytest.raises(Stopped):
            train(settings, StopAtTheSecond())
    finally:
        stopping.clear()


def test_where_no_case_may_choose_nothing_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Curves, "_draw", lambda self: None)

    def fail(*_: object) -> float:
        raise AssertionError("a case that scores the model chose")

    monkeypatch.setattr(network_module, "validation_dice", fail)
    settings = FinetuneSettings(
        write_dataset(tmp_path / "data", 5), tmp_path / "my", Budget(1), None, NETWORKS[1], window=(16, 16, 16),
        device="cpu", precision="32-true", batch=1, balance=True, validations=0,
    )  # fmt: skip
    made = train(settings, Reporter())
    assert made is not None
    assert made.record["finetuning"]["balance_taken_back"] == 0


def test_a_network_that_names_no_last_layer_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Curves, "_draw", lambda self: None)
    monkeypatch.setattr(UnetrSettings, "output_layer", property(lambda self: ""))
    settings = FinetuneSettings(
        write_dataset(tmp_path / "data", 5), tmp_path / "my", Budget(1), None, NETWORKS[0], window=(16, 16, 16),
        device="cpu", precision="32-true", batch=1, balance=True, validations=1,
    )  # fmt: skip
    made = train(settings, Reporter())
    assert made is not None
    assert made.record["finetuning"]["balance_taken_back"] == 0
