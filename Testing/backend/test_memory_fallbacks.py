"""When no rung of the ladder helps: a smaller window or the CPU, from the step where it was, also after a kill."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from synthetic import write_dataset  # noqa: E402

from mimseg.commands.finetune import network as finetune_network  # noqa: E402
from mimseg.commands.finetune.data import load_labelled_data  # noqa: E402
from mimseg.commands.finetune.record import describe  # noqa: E402
from mimseg.commands.finetune.run import train  # noqa: E402
from mimseg.commands.finetune.settings import FinetuneSettings  # noqa: E402
from mimseg.errors import OutOfMemory  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.networks.positions import resize_positions  # noqa: E402
from mimseg.networks.settings import NetworkSettings  # noqa: E402
from mimseg.networks.unetr import UNETR  # noqa: E402
from mimseg.training.budget import Budget, LoopState  # noqa: E402
from mimseg.training.checkpoints import load_checkpoint  # noqa: E402
from mimseg.training.curves import Curves  # noqa: E402
from mimseg.training.losses import dice_and_cross_entropy  # noqa: E402
from mimseg.training.memory import fallbacks  # noqa: E402
from mimseg.training.memory.fallbacks import Limits, Place, train_within_memory  # noqa: E402
from mimseg.training.memory.resizing import fit_checkpoint  # noqa: E402
from mimseg.training.optimiser.schedule import parameter_groups  # noqa: E402
from mimseg.training.validation import score_cases  # noqa: E402

SHAPE = NetworkSettings(
    window=(24, 16, 16), patch_size=8, layers=3, hidden_size=24, mlp_size=24, heads=2, feature_size=2
)
STEPS = 5
POSITIONS = "vit.patch_embedding.position_embeddings"


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing curves takes longer than training the tiny networks of these tests."""
    monkeypatch.setattr(Curves, "_draw", lambda self: None)


class Listener(Reporter):
    """Keeps warnings and steps."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.steps: list[float] = []

    def warning(self, code: str, message: str) -> None:
        self.warnings.append(message)

    def progress(self, phase: str, done: float, total: float) -> None:
        if phase == "train":
            self.steps.append(done)


class Killed(BaseException):
    """Nothing in the program handles this: what is on the disk is all that is left."""


def scarce(monkeypatch: pytest.MonkeyPatch, largest: int, after: int, killed_at: int | None = None) -> None:
    """From pass `after`, memory is too short for windows with an edge over `largest`; at `killed_at` the run dies."""
    whole = dice_and_cross_entropy()
    passes: list[int] = []

    def loss(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        if not logits.requires_grad:
            return whole(logits, classes)
        passes.append(1)
        if killed_at is not None and len(passes) > killed_at:
            raise Killed
        if len(passes) > after and max(logits.shape[2:]) > largest:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return whole(logits, classes)

    monkeypatch.setattr(finetune_network, "dice_and_cross_entropy", lambda background: loss)


def test_training_goes_on_with_a_smaller_window_from_the_same_step_and_the_model_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_dataset(tmp_path / "data", 5)
    settings = FinetuneSettings(
        data, tmp_path / "model", Budget(STEPS), None, SHAPE, window=(24, 16, 16), device="cpu",
        precision="32-true", batch=1, validations=1,
    )  # fmt: skip
    cases = load_labelled_data(settings, None, Reporter())
    probed = 3  # passes that the cost is measured with
    listener = Listener()
    scarce(monkeypatch, 16, after=probed + 2)
    trained = train(settings, listener, cases)
    assert trained is not None
    assert listener.steps == [1, 2, 3, 4, 5], "no step is lost or repeated"
    assert "twice" in listener.warnings[0], "first the rungs that keep the recipe"
    assert "from step 2 with windows of 16x16x16 instead of 24x16x16" in listener.warnings[1]
    assert trained.shape.window == (16, 16, 16)
    assert "windows of 16x16x16" in trained.record["finetuning"]["memory_ran_out"]
    scores = score_cases(trained.network, cases.validation, cases.labels, trained.shape, 0.5, Reporter())
    assert len(scores["validation"]) == 2
    assert describe(settings, trained.shape, cases, scores, trained.record).window == (16, 16, 16)

    # Killed after the window was changed, a run goes on with it and ends as if nothing had happened.
    broken = replace(settings, output=tmp_path / "broken")
    scarce(monkeypatch, 16, after=probed + 2, killed_at=probed + 6)
    with pytest.raises(Killed):
        train(broken, Reporter(), cases)
    checkpoint = load_checkpoint(tmp_path / "broken.training" / "checkpoint.pt")
    assert (checkpoint["state"]["step"], checkpoint["state"]["extra"]["window"]) == (2, [16, 16, 16])
    scarce(monkeypatch, 16, after=0)
    resumed = train(replace(broken, resume=True), Reporter(), cases)
    assert resumed is not None
    assert resumed.shape == trained.shape
    expected = trained.network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.network.state_dict().items())


def test_positions_and_their_moments_are_resized_and_everything_else_is_kept() -> None:
    small = replace(SHAPE, window=(16, 16, 16))
    old, new = UNETR(SHAPE), UNETR(small)

    def groups(network: UNETR) -> list[dict]:
        return parameter_groups(network, 1e-3, 0.05, SHAPE.layers, 1.0, set())

    optimizer = torch.optim.AdamW(groups(old))
    old(torch.randn(1, 1, *SHAPE.window)).square().mean().backward()
    optimizer.step()
    number = next(
        index
        for index, parameter in enumerate(p for group in groups(old) for p in group["params"])
        if parameter is old.get_parameter(POSITIONS)
    )
    weights = {name: value.clone() for name, value in old.state_dict().items()}
    content = {
        "grid": [3, 2, 2], "network": dict(weights), "best": {}, "optimizer": optimizer.state_dict(),
        "average": {"n_averaged": torch.tensor(1), **{f"module.{name}": value for name, value in weights.items()}},
    }  # fmt: skip
    moments = {key: value.clone() for key, value in content["optimizer"]["state"][number].items()}
    assert fit_checkpoint(content, new, groups(new), small.grid)
    expected = resize_positions(weights[POSITIONS], SHAPE.grid, small.grid)
    assert torch.equal(content["network"][POSITIONS], expected)
    assert torch.equal(content["average"][f"module.{POSITIONS}"], expected)
    for key in ("exp_avg", "exp_avg_sq"):
        after = content["optimizer"]["state"][number][key]
        assert torch.equal(after, resize_positions(moments[key], SHAPE.grid, small.grid))
    assert all(torch.equal(content["network"][name], value) for name, value in weights.items() if name != POSITIONS)
    new.load_state_dict(content["network"])
    torch.optim.AdamW(groups(new)).load_state_dict(content["optimizer"])
    assert not fit_checkpoint({"grid": [2, 2, 2]}, new, groups(new), small.grid)


class FakeTraining:
    """Runs out of memory on a GPU, whatever the window."""

    processes = 1

    def __init__(self, place: Place) -> None:
        self.device_type = "cpu" if place.device == "cpu" else "cuda"
        self.state = LoopState(step=7, extra={"memory": {"parts": 2, "recompute": True}})
        self.saved: list[Any] = []

    def run(self) -> None:
        if self.device_type != "cpu":
            raise OutOfMemory("The memory of cuda:0 does not suffice.", "hint")

    def save_for(self, window: tuple[int, int, int], done: str) -> None:
        self.saved.append((window, done))


def test_the_cpu_takes_over_last_and_loudly_unless_the_gpu_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fallbacks.gc, "collect", lambda: 0)  # slow in a process full of PyTorch

    def run(may_change: bool) -> tuple[list[tuple[Place, bool]], list[str], list[FakeTraining]]:
        built: list[tuple[Place, bool]] = []
        trainings: list[FakeTraining] = []
        listener = Listener()

        def build(place: Place, resume: bool) -> Any:
            built.append((place, resume))
            trainings.append(FakeTraining(place))
            return trainings[-1]

        first = Place((24, 24, 24), "cuda")
        with nullcontext() if may_change else pytest.raises(OutOfMemory, match="hint"):
            train_within_memory(build, first, Limits(8, first.window, may_change), False, listener)
        return built, listener.warnings, trainings

    built, said, trainings = run(True)
    windows = [(24, 24, 24), (16, 24, 24), (16, 16, 24), (16, 16, 16), (16, 16, 16)]
    assert [place.window for place, _ in built] == windows
    assert [place.device for place, _ in built] == ["cuda"] * (len(built) - 1) + ["cpu"]
    assert [resume for _, resume in built] == [False] + [True] * (len(built) - 1)
    assert "FROM STEP 7 ON THE CPU" in said[-1]
    assert "memory" not in trainings[-2].state.extra, "the CPU starts on the first rung"
    built, _, _ = run(False)
    assert {place.device for place, _ in built} == {"cuda"}
