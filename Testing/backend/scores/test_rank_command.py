"""`mimseg rank` from the command line to its files, with a model that needs no training."""

from __future__ import annotations

import contextlib
import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import RecordingReporter
from synthetic import write_dataset
from tiny_model import PREPROCESSING, write_tiny_bundle

from mimseg.cli.main import main
from mimseg.commands.rank.run import RankSettings, rank
from mimseg.commands.written import RECORD
from mimseg.data.preprocessing import Preprocessing
from mimseg.errors import UserError
from mimseg.inference import known_volumes


def write_image(path: Path, grey: float, seed: int = 0, spacing: tuple[float, float, float] = (1, 1, 2)) -> Path:
    """A dark scan with a block of value `grey`; the tiny model's steps lie at 30 and 70."""
    array = np.full((9, 14, 12), 5, np.float32)
    array[3:6, 4:9, 4:8] = grey
    array += np.random.default_rng(seed).normal(0, 0.1, array.shape).astype(np.float32)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin((10.0, -20.0, 30.0))
    image.SetDirection((0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    path.parent.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Three scans: surely grey, hardly decided between grey and bright, surely bright."""
    for name, grey in (("grey", 50.0), ("between", 70.5), ("bright", 95.0)):
        write_image(tmp_path / "scans" / f"{name}.nii.gz", grey)
    return tmp_path / "scans"


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write_tiny_bundle(tmp_path / "tiny"))


def test_the_undecided_scan_is_proposed_and_all_files_are_there(
    scans: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture
):
    out = tmp_path / "ranking"
    code = main(
        ["rank", str(scans), "--model", model, "-o", str(out), "--count", "1", "--threads", "1", "--json-lines"]
    )
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert (events[0]["event"], events[0]["command"], events[0]["cases"]) == ("start", "rank", 3)
    result = events[-1]
    assert result["event"] == "result"
    assert result["proposed"] == ["between"]
    assert [case["rank"] for case in result["cases"]] == [1, 2, 3]
    # This network has no encoder: said loudly.
    assert "no-features" in {event.get("code") for event in events if event["event"] == "warning"}
    assert {path.name for path in out.iterdir()} == {
        "rank.html",
        "rank.json",
        "rank.csv",
        *(
            f"{name}_{kind}.nii.gz"
            for name in ("grey", "between", "bright")
            for kind in ("uncertainty", "segmentation")
        ),
        RECORD,
    }
    assert all(Path(result["cases"][0][key]).is_file() for key in ("uncertainty_map", "segmentation"))
    rows = list(csv.DictReader((out / "rank.csv").open(encoding="utf-8")))
    assert rows[0]["case"] == "between"
    assert float(rows[0]["uncertainty"]) > 0.2 > float(rows[1]["uncertainty"])
    assert float(rows[-1]["Grey (mL)"]) + float(rows[-1]["Bright (mL)"]) == pytest.approx(0.12, abs=0.02)
    for name in ("rank.html", "rank.json", "rank.csv"):
        text = (out / name).read_text(encoding="utf-8")
        assert str(tmp_path) not in text, "the report says nothing of the computer"
        assert "between" in text


def test_maps_lie_on_the_scans_own_grid(scans: Path, model: str, tmp_path: Path):
    rank(RankSettings((scans,), (model,), tmp_path / "out", threads=1))
    for name, found in (("between", None), ("bright", 7), ("grey", 3)):
        scan = sitk.ReadImage(str(scans / f"{name}.nii.gz"))
        uncertainty = sitk.ReadImage(str(tmp_path / "out" / f"{name}_uncertainty.nii.gz"))
        labels = sitk.ReadImage(str(tmp_path / "out" / f"{name}_segmentation.nii.gz"))
        for image in (uncertainty, labels):
            assert image.GetSize() == scan.GetSize()
            np.testing.assert_allclose(image.GetOrigin(), scan.GetOrigin(), atol=1e-4)
            np.testing.assert_allclose(image.GetDirection(), scan.GetDirection(), atol=1e-5)
        values = sitk.GetArrayFromImage(uncertainty)
        assert 0 <= values.min() <= values.max() <= 1
        if found is None:
            assert values[4, 6, 6] > 0.5  # two of three classes are equally probable: 0.63
        else:
            assert values[4, 6, 6] < 0.1
            assert sitk.GetArrayFromImage(labels)[4, 6, 6] == found
        assert values[0, 0, 0] < 0.05
        assert sitk.GetArrayFromImage(labels)[0, 0, 0] == 0


def test_the_labels_are_those_that_segment_writes(tmp_path: Path):
    scan = write_image(tmp_path / "scans" / "scan.nii.gz", 50.0)
    image = sitk.ReadImage(str(scan))
    for place in ((1, 1, 1), (10, 12, 7)):  # islands far from the block
        image[place] = 50.0
    sitk.WriteImage(image, str(scan))
    model = write_tiny_bundle(tmp_path / "one piece", one_piece=(("Grey",),))
    ranking = rank(RankSettings((scan.parent,), (str(model),), tmp_path / "out", threads=1))
    assert main(["segment", str(scan), "-m", str(model), "-o", str(tmp_path / "own.nii.gz"), "--quiet"]) == 0
    (case,) = ranking.cases
    own, ranked = (sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (tmp_path / "own.nii.gz", case.segmentation))
    np.testing.assert_array_equal(ranked, own)
    assert ranked[1, 1, 1] == 0
    assert case.doubt.voxels == np.count_nonzero(own)
    assert case.volumes_ml["Grey"] == pytest.approx(np.count_nonzero(own) * 2 / 1000)


def test_a_scan_in_which_nothing_known_is_found_is_left_out_as_segment_refuses_it(
    scans: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Grey scans show nothing that this model knows; it has too few structures to be judged by them without this.
    monkeypatch.setattr(
        known_volumes, "finds_nothing_known", lambda classes, description, grid: not (classes == 2).any()
    )
    reporter = RecordingReporter()
    ranking = rank(RankSettings((scans,), (model,), tmp_path / "out", threads=1), reporter)
    assert list(ranking.left_out) == ["grey"]
    told = [message for code, message in reporter.warnings if code == "nothing-known"]
    assert len(told) == 1
    assert told[0].startswith("grey: tiny finds nothing in this scan")
    assert not (tmp_path / "out" / "grey_segmentation.nii.gz").exists()
    inside = RankSettings((scans,), (model,), tmp_path / "boxes", regions=((0, 50, 0, 50, 0, 60),), threads=1)
    with contextlib.suppress(UserError):
        rank(inside, reporter)
    assert len([code for code, _ in reporter.warnings if code == "nothing-known"]) == 1, "a box is not a whole scan"


def test_the_same_model_twice_does_not_disagree_and_augmentation_does(scans: Path, model: str, tmp_path: Path):
    twice = rank(RankSettings((scans,), (model, model), tmp_path / "a", maps=False, threads=1))
    assert twice.members == 2
    assert [case.doubt.disagreement for case in twice.cases] == [0, 0, 0]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["rank.csv", "rank.html", "rank.json"]
    views = rank(RankSettings((scans,), (model,), tmp_path / "b", maps=False, augment=True, threads=1))
    assert views.members == 6
    doubts = {case.name: case.doubt for case in views.cases}
    assert doubts["between"].disagreement > 0.05


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"preprocessing": Preprocessing("RAS", (2.0, 2.0, 2.0), PREPROCESSING.intensity)}, "working spacings"),
        ({"labels": ()}, "structures"),
    ],
)
def test_models_that_cannot_be_averaged_are_refused(scans: Path, model: str, tmp_path: Path, change: dict, said: str):
    from dataclasses import replace

    from tiny_model import LABELS

    if "labels" in change:
        change = {"labels": (LABELS[0], replace(LABELS[1], name="Other"))}
    other = str(write_tiny_bundle(tmp_path / "other", name="other", **change))
    with pytest.raises(UserError, match=f"tiny and other cannot be used together.*{said}"):
        rank(RankSettings((scans,), (model, other), tmp_path / "out"))


def test_labelled_cases_and_unreadable_ones_are_left_out(model: str, tmp_path: Path, reporter: RecordingReporter):
    data = write_dataset(tmp_path / "data", 4)
    (tmp_path / "list.csv").write_text(
        "image,label\n"
        + "".join(f"data/imagesTr/case_{n}.nii.gz,data/labelsTr/case_{n}.nii.gz\n" for n in range(2))
        + ",data/labelsTr/case_2.nii.gz\n"  # labels alone, for training: no scan to compare with
    )
    broken = data / "imagesTr" / "case_3.nii.gz"
    broken.write_bytes(broken.read_bytes()[:300])
    settings = RankSettings((data / "imagesTr",), (model,), tmp_path / "out", labelled=tmp_path / "list.csv", threads=1)
    ranking = rank(settings, reporter)
    assert [case.name for case in ranking.cases] == ["case_2"]
    assert ranking.labelled == 2
    assert ranking.left_out == ("case_3",)
    assert "unreadable" in reporter.codes
    assert "case_3" in (tmp_path / "out" / "rank.html").read_text(encoding="utf-8")


def test_only_the_region_is_ranked(scans: Path, model: str, tmp_path: Path):
    scan = sitk.ReadImage(str(scans / "between.nii.gz"))
    corner = scan.TransformIndexToPhysicalPoint((0, 0, 0))
    near = (-corner[0], -corner[1], corner[2])  # LPS to RAS
    region = tuple(value + offset for value in near for offset in (-2.5, 2.5))
    ranking = rank(RankSettings((scans,), (model,), tmp_path / "out", regions=(region,), threads=1))
    assert [case.doubt.voxels for case in ranking.cases] == [0, 0, 0]
    assert all("nothing-found" in dict(case.warnings) for case in ranking.cases)
    far = RankSettings((scans,), (model,), tmp_path / "out2", regions=((500, 510, 500, 510, 500, 510),), threads=1)
    with pytest.raises(UserError, match="None of the cases"):
        rank(far)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--count", "0"], "usage"),
        (["-o", "ranking.html"], "bad-output"),
        (["-o", "scans"], "bad-output"),
        (["--cases", "nobody"], "unknown-case"),
    ],
)
def test_bad_usage_is_told(
    scans: Path,
    model: str,
    arguments: list[str],
    code: str,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(scans.parent)
    before = sorted(scans.iterdir())
    assert main(["rank", "scans", "--model", model, "-o", "out", *arguments, "--json-lines"]) == 2
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["code"] == code
    assert sorted(scans.iterdir()) == before
    assert not Path("out").exists()
