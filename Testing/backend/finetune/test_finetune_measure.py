"""A fine-tuning measures its model at the end; that can be left out, and whatever happens there, the model stays."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from conftest import RecordingReporter  # noqa: E402
from synthetic import write_dataset  # noqa: E402

from mimseg.bundle.reader import open_bundle  # noqa: E402
from mimseg.cli.finetune import _settings, add_arguments  # noqa: E402
from mimseg.cli.main import ArgumentParser  # noqa: E402
from mimseg.commands.finetune import measure as finetune_measure  # noqa: E402
from mimseg.commands.finetune import run as finetune  # noqa: E402
from mimseg.commands.finetune.run import Trained, train, write_model  # noqa: E402
from mimseg.commands.finetune.settings import FinetuneSettings  # noqa: E402
from mimseg.errors import Stopped, UserError  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.budget import Budget  # noqa: E402
from mimseg.training.curves import Curves  # noqa: E402

SHAPE = UnetrSettings(window=(16, 16, 16), patch_size=8, layers=3, hidden_size=24, mlp_size=24, heads=2, feature_size=2)


class Listener(RecordingReporter):
    """Keeps what the run ended with, too."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: dict[str, Any] = {}

    def result(self, **fields: Any) -> None:
        self.ended = fields


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[FinetuneSettings, Trained]:
    """A training of one step and its model, not measured."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_dataset(folder / "data", 5)
    settings = FinetuneSettings(
        data, folder / "plain", Budget(1), None, SHAPE, window=(16, 16, 16), device="cpu", precision="32-true",
        batch=1, validations=1, measure=False,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Curves, "_draw", lambda self: None)
        found = train(settings, RecordingReporter())
    assert found is not None
    write_model(settings, found, {}, RecordingReporter())
    return settings, found


@pytest.mark.parametrize("validation", [True, False])
def test_validation_cases_are_measured_and_without_any_the_overlap_of_training_cases(
    trained: tuple[FinetuneSettings, Trained], monkeypatch: pytest.MonkeyPatch, validation: bool
) -> None:
    settings, network = trained
    assert "inference" not in open_bundle(settings.output).description.scores
    # Exporting a network once is enough for all tests.
    monkeypatch.setattr(
        finetune, "write_bundle", lambda folder, *_: open_bundle(shutil.copytree(settings.output, folder))
    )
    if not validation:
        network = replace(network, data=replace(network.data, validation=[]))
    reporter, output = Listener(), settings.output.with_name(f"measured-{validation}")
    write_model(replace(settings, output=output, measure=True), network, {}, reporter)
    assert reporter.ended["model"] == str(output)
    assert reporter.codes == []
    description = open_bundle(output).description
    record = description.scores["inference"]
    rows = record["variants"]
    if validation:
        assert (record["cases"], record["cases_are"], len(rows)) == (1, "not trained on", 7)
        assert all(row["mean_dice"] is not None for row in rows)
    else:
        assert (record["cases"], record["cases_are"], len(rows)) == (4, "compared without their labels", 4)
        assert all(row["mean_dice"] is None for row in rows)
        assert description.quick is None
        assert "not trained on" in record["quick_mode"]


def test_the_model_stays_if_measuring_is_stopped_or_fails(
    trained: tuple[FinetuneSettings, Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, network = trained
    bundle = open_bundle(settings.output)
    before = bundle.identity
    # Data that vanished while it trained are no reason to lose the model either.
    reporter = Listener()
    finetune_measure.measure_new_model(bundle, replace(settings, data=Path("nowhere")), network.data, reporter)
    assert reporter.codes == ["not-measured"]
    for fault in (Stopped(), OSError("disk full"), RuntimeError("engine")):

        def fail(*_: Any, fault: Exception = fault) -> None:
            raise fault

        monkeypatch.setattr(finetune_measure, "measure_model", fail)
        reporter = Listener()
        finetune_measure.measure_new_model(bundle, settings, network.data, reporter)
        assert reporter.codes == ["not-measured"]
        assert "mimseg measure" in reporter.warnings[0][1]
    assert open_bundle(settings.output).identity == before


def test_an_overlap_of_the_user_and_the_time_reach_the_measurement(tmp_path: Path) -> None:
    parser = ArgumentParser()
    add_arguments(parser)
    usual = ["data", "-o", str(tmp_path / "m"), "--init", "none"]
    for more, keep, overlap, measure in (
        (["--minutes", "60"], False, 0.5, True),
        (["--steps", "9", "--overlap", "0.3"], True, 0.3, True),
        (["--steps", "9", "--no-measure", "--preset", "paper"], False, 0.25, False),
    ):
        settings = _settings(parser.parse_args([*usual, *more]))
        assert (settings.keep_overlap, settings.overlap, settings.measure) == (keep, overlap, measure)


def test_the_last_weights_can_be_kept_so_that_no_score_is_chosen() -> None:
    parser = ArgumentParser(prog="finetune")
    add_arguments(parser)
    usual = ["data", "-o", "model", "--init", "none", "--steps", "9"]
    assert _settings(parser.parse_args(usual)).validations == 20
    assert _settings(parser.parse_args([*usual, "--validations", "0"])).validations == 0
    with pytest.raises(UserError):
        parser.parse_args([*usual, "--validations", "-1"])
