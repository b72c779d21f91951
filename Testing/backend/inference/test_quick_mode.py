"""The quick mode in a model's description, and in what `mimseg models` and `mimseg segment` do with it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from bundle_files import describe, make_bundle_of_bytes
from segment_tools import Recorder, settings_for, write_scan
from tiny_model import write_tiny_bundle

from mimseg.bundle.description import Description
from mimseg.bundle.documents.model_card import model_card
from mimseg.bundle.documents.monai_inference import inference_configuration
from mimseg.bundle.quick_mode import QuickMode
from mimseg.cli.main import main
from mimseg.commands.segment.run import segment
from mimseg.errors import UserError

QUICK = QuickMode((1.5, 1.5, 2.0), 0.25, 0.8, 0.0125, 0.512, 8)


def test_a_description_keeps_the_quick_mode_and_one_without_is_as_it_always_was():
    description = describe(quick=QUICK, overlap=0.375)
    assert Description.from_json(json.loads(json.dumps(description.to_json()))) == description
    # Models of before have no such entry, and readers of before know none.
    old = describe().to_json()
    assert "quick" not in old
    assert Description.from_json(old).quick is None
    quick = description.in_quick_mode()
    assert (quick.preprocessing.spacing, quick.overlap, quick.window) == ((1.5, 1.5, 2.0), 0.25, description.window)
    card = model_card(description)
    assert "1.5 x 1.5 x 2 mm instead of 1 mm; on 8 cases that it was not trained on mean Dice was 0.013 lower" in card
    assert "--quick" in card
    assert "--quick" not in model_card(describe())
    assert inference_configuration(description)["inferer"]["overlap"] == 0.375


@pytest.mark.parametrize(
    "changes",
    [
        {"spacing": [1.5, 1.5]},
        {"spacing": [1.5, 1.5, "2"]},
        {"spacing": [1.0, 1.0, 1.0]},
        {"spacing": [0.5, 2.0, 2.0]},
        {"spacing": [1.5, 1.5, 0.0]},
        {"overlap": 1.0},
        {"overlap": None},
        {"dice": 1.5},
        {"dice": True},
        {"dice_loss": -2.0},
        {"windows_share": 0.0},
        {"windows_share": 1.5},
        {"cases": 0},
        {"cases": 2.5},
        {"more": 1},
        None,
        [],
    ],
)
def test_a_quick_mode_that_cannot_be_is_refused(changes):
    content = describe(quick=QUICK).to_json()
    content["quick"] = {**content["quick"], **changes} if isinstance(changes, dict) else changes
    if changes is None:
        assert Description.from_json(content).quick is None
        return
    with pytest.raises(UserError, match="quick mode") as fault:
        Description.from_json(content, "here.json")
    assert fault.value.code == "bad-model"
    assert "here.json" in fault.value.message


def test_a_model_without_a_spacing_has_no_coarser_one():
    plain = describe()
    with pytest.raises(UserError, match="not coarser"):
        describe(quick=QUICK, preprocessing=replace(plain.preprocessing, spacing=None))


def test_the_list_of_models_tells_the_loss(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MIMSEG_MODELS", str(tmp_path))
    monkeypatch.setattr("mimseg.bundle.locations.shipped_folder", lambda: tmp_path / "none")
    make_bundle_of_bytes(tmp_path / "with", name="with", quick=QUICK)
    make_bundle_of_bytes(tmp_path / "without", name="without")
    assert main(["models", "list"]) == 0
    with_quick, without = capsys.readouterr().out.splitlines()[1:]
    assert with_quick.endswith("(quick mode: -0.013 Dice)")
    assert "quick" not in without
    assert main(["models", "show", "with"]) == 0
    assert "Quick mode: 1.5 x 1.5 x 2 mm instead of 1 mm" in capsys.readouterr().out
    assert main(["models", "list", "--json-lines"]) == 0
    models = json.loads(capsys.readouterr().out.splitlines()[-1])["models"]
    assert [model["quick"] for model in models] == [QUICK.to_json(), None]
    assert main(["models", "show", "with", "--json-lines"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["description"]["quick"]["dice_loss"] == 0.0125


def test_quick_segments_at_the_coarser_spacing_exactly_on_the_scan_and_says_what_it_costs(tmp_path, monkeypatch):
    quick = QuickMode((3.0, 3.0, 3.0), 0.125, 0.8, 0.0125, 0.512, 8)
    model = write_tiny_bundle(tmp_path / "tiny", quick=quick)
    _, scan = write_scan(tmp_path / "scan.nrrd")
    used = []
    from mimseg.commands.segment import run as task

    real = task.segment_volume
    monkeypatch.setattr(
        task,
        "segment_volume",
        lambda volume, description, *rest, **more: (
            used.append((description.preprocessing.spacing, description.overlap, rest[2])),
            real(volume, description, *rest, **more),
        )[1],
    )

    class Listener(Recorder):
        def info(self, message):
            self.events.append(("info", message))

    listener = Listener()
    segment(settings_for(model, tmp_path / "scan.nrrd", tmp_path / "quick.nrrd", quick=True), listener)
    segment(settings_for(model, tmp_path / "scan.nrrd", tmp_path / "own.nrrd", quick=True, overlap=0.75), listener)
    segment(settings_for(model, tmp_path / "scan.nrrd", tmp_path / "usual.nrrd"), listener)
    assert used == [((3.0, 3.0, 3.0), 0.125, None), ((3.0, 3.0, 3.0), 0.125, 0.75), ((1.0, 1.0, 1.0), 0.5, None)]
    said = [event[1] for event in listener.events if event[0] == "info" and event[1].startswith("Quick")]
    assert said == [
        "Quick: 3 mm instead of 1 mm; on 8 cases that it was not trained on mean Dice was 0.013 lower; "
        "0.51 of the windows."
    ] * 2  # fmt: skip
    found = sitk.ReadImage(str(tmp_path / "quick.nrrd"))
    assert found.GetSize() == scan.GetSize()
    for name in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(found, name)(), getattr(scan, name)(), atol=1e-12)
    usual = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "usual.nrrd")))
    assert 0 < (sitk.GetArrayFromImage(found) != usual).mean() < 0.2


def test_a_model_without_a_quick_mode_says_how_to_get_one(tmp_path, capsys):
    model = write_tiny_bundle(tmp_path / "tiny")
    write_scan(tmp_path / "scan.nrrd")
    arguments = ["segment", str(tmp_path / "scan.nrrd"), "-m", str(model), "-o", str(tmp_path / "o.nrrd"), "--quick"]
    assert main([*arguments, "--json-lines"]) == 2
    error = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert error["code"] == "no-quick-mode"
    assert "mimseg measure" in error["hint"]
    assert not (tmp_path / "o.nrrd").exists()
