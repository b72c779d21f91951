"""MONAI Bundles and MONAIAuto3DSeg models: what they declare is taken over, code in them is not run."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")
pytestmark = pytest.mark.train

from foreign_weights import HEADS, WINDOW, save, unetr  # noqa: E402

from mimseg.commands.models.import_inputs import decide_inputs  # noqa: E402
from mimseg.commands.models.import_settings import ImportSettings  # noqa: E402
from mimseg.data.intensity import Intensity  # noqa: E402
from mimseg.data.preprocessing import Preprocessing  # noqa: E402
from mimseg.data.preprocessing_presets import PRESETS, preset, read_preprocessing  # noqa: E402
from mimseg.errors import UserError  # noqa: E402
from mimseg.importers import auto3dseg, monai_bundle  # noqa: E402
from mimseg.importers.declarations import Declared, plain  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402

METADATA: dict[str, Any] = {
    "version": "0.3.1",
    "name": "Organs",
    "description": "Finds organs.",
    "authors": "Somebody",
    "references": ["Somebody, 2024."],
    "network_data_format": {
        "inputs": {"image": {"modality": "CT", "num_channels": 1, "channel_def": {"0": "CT"}}},
        "outputs": {"pred": {"channel_def": {"0": "background", "1": "spleen", "2": "liver"}}},
    },
}
STEPS: list[dict[str, Any]] = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
    {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
    {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
    {"_target_": "ScaleIntensityRanged", "a_min": -175, "a_max": 250, "b_min": 0.0, "b_max": 1.0, "clip": True},
    {"_target_": "RandFlipd", "_disabled_": True},
    {"_target_": "EnsureTyped", "keys": "image"},
]
INFERENCE: dict[str, Any] = {
    "imports": ["$import os"],
    "trap": "$os.mkdir('trap-was-here')",
    "size": list(WINDOW),
    "device": "$torch.device('cpu')",
    "network_def": {"_target_": "UNETR", "in_channels": 1, "out_channels": 3, "img_size": "@size", "num_heads": HEADS},
    "preprocessing": {"_target_": "Compose", "transforms": STEPS},
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": "@size", "overlap": 0.25},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [{"_target_": "Activationsd", "softmax": True}, {"_target_": "AsDiscreted", "argmax": True}],
    },
}


def declared(metadata: dict[str, Any] = METADATA, inference: dict[str, Any] = INFERENCE) -> Declared:
    files = {"configs/metadata.json": metadata, "configs/inference.json": inference}
    return monai_bundle.read({name: json.dumps(content).encode() for name, content in files.items()})


def with_steps(*steps: dict[str, Any]) -> dict[str, Any]:
    return {**INFERENCE, "preprocessing": {"_target_": "Compose", "transforms": list(steps)}}


def write_bundle_of_monai(folder: Path, inference: dict[str, Any] = INFERENCE) -> Path:
    """A MONAI Bundle with a small UNETR."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps(METADATA), encoding="utf-8")
    (folder / "configs" / "inference.json").write_text(json.dumps(inference), encoding="utf-8")
    save(folder / "models" / "model.pt", unetr().state_dict())
    return folder


def write_auto3dseg(path: Path, **changes: Any) -> Path:
    """A zip as SlicerMONAIAuto3DSeg downloads them, with a small UNETR."""
    config = {
        "network": {"_target_": "monai.networks.nets.UNETR", "img_size": list(WINDOW), "num_heads": HEADS},
        "normalize_mode": "meanstd",
        "intensity_bounds": [-2.0, 3.0],
        "orientation_ras": True,
        "resample_resolution": [1.0, 1.0, 2.0],
        "crop_foreground": True,
        "roi_size": list(WINDOW),
        "modality": "MRI",
        "sigmoid": False,
        "bundle_root": "$__import__('os').mkdir('trap-was-here')",
        **changes,
    }
    save(path.with_suffix(".pt"), {"config": config, "state_dict": unetr().state_dict(), "epoch": 7})
    columns = [
        f"SegmentedPropertyTypeCodeSequence.{part}" for part in ("CodingSchemeDesignator", "CodeValue", "CodeMeaning")
    ]
    table = [["LabelValue", "Name", *columns], ["1", "liver", "SCT", "10200004", "Liver"], ["2", "tumour", "", "", ""]]
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(path.with_suffix(".pt"), "organs-v1.0.0/model.pt")
        archive.writestr("organs-v1.0.0/labels.csv", "\n".join(map(",".join, table)))
    return path


def test_a_bundle_declares_everything_that_its_use_needs() -> None:
    found = declared()
    assert found.preprocessing == Preprocessing("RAS", (1.5, 1.5, 2.0), Intensity("window", -175, 250))
    assert [(label.value, label.name) for label in found.labels or ()] == [(1, "spleen"), (2, "liver")]
    assert (found.window, found.heads, found.overlap, found.modality) == (WINDOW, HEADS, 0.25, "CT")
    assert (found.title, found.version, found.channels, found.multilabel) == ("Organs", "0.3.1", ("CT",), False)
    assert not found.notes


def test_expressions_are_never_evaluated_and_count_as_not_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    network = {"img_size": "$os.mkdir('trap-was-here')", "num_heads": "$__import__('os').mkdir('trap-was-here')"}
    found = declared(inference={**INFERENCE, "network_def": network, "inferer": {"roi_size": "@trap"}})
    assert (found.window, found.heads) == (None, None)
    assert plain({"a": ["$x", "%y", "@z", 1]}, {"z": "$evil"}) == {"a": [None, None, None, 1]}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([*STEPS, {"_target_": "Lambdad", "func": "$lambda x: x * 2"}], "Lambda"),
        ([*STEPS, {"_target_": "ScaleIntensityd"}], "ScaleIntensity"),
        ([*STEPS, {"_target_": "NormalizeIntensityd", "nonzero": True, "channel_wise": True}], "second for intensity"),
        ([{**STEPS[4], "clip": False}, *STEPS], "second for intensity"),
        ([*STEPS, {**STEPS[3], "pixdim": [1, 1, 1]}], "second for spacing"),
        ([*STEPS, {**STEPS[2], "axcodes": "LPS"}], "second for orientation"),
        ([step for step in STEPS if step["_target_"] != "Spacingd"], "does not declare"),
        ([{**step, "pixdim": "$@spacing"} for step in STEPS], "does not declare"),
        ([{**step, "clip": False} for step in STEPS], "does not declare"),
        ([{**step, "axcodes": "XYZ"} for step in STEPS], "not usable"),
        ([], "does not declare"),
    ],
)
def test_preprocessing_that_has_no_counterpart_is_asked_for(steps: list[dict[str, Any]], reason: str) -> None:
    found = declared(inference=with_steps(*steps))
    assert found.preprocessing is None
    assert reason in found.notes[0]
    with pytest.raises(UserError, match=reason) as refusal:
        decide_inputs(ImportSettings(Path("x")), found, True, UnetrSettings(classes=3))
    assert "--preprocessing" in refusal.value.hint


@pytest.mark.parametrize("value", [-175.0, -100.0, 37.5, 250.0, 900.0])
def test_any_linear_range_is_taken_over(value: float) -> None:
    import numpy as np
    from monai.transforms import ScaleIntensityRange

    step = {"_target_": "ScaleIntensityRanged", "a_min": -175, "a_max": 250, "b_min": -1, "b_max": 3, "clip": True}
    found = declared(inference=with_steps(STEPS[2], STEPS[3], step)).preprocessing
    assert found is not None
    array = np.full((1, 2, 2, 2), value, np.float32)
    expected = float(ScaleIntensityRange(-175, 250, -1, 3, clip=True)(array).max())
    found.intensity.scale(array)
    assert array.max() == pytest.approx(expected, abs=1e-5)


def test_zscores_only_if_of_non_zero_voxels_of_each_channel() -> None:
    step = {"_target_": "NormalizeIntensityd", "nonzero": True, "channel_wise": True}
    found = declared(inference=with_steps(STEPS[2], STEPS[3], step))
    assert found.preprocessing == Preprocessing("RAS", (1.5, 1.5, 2.0), Intensity("zscore"))
    step["nonzero"] = False
    assert declared(inference=with_steps(STEPS[2], STEPS[3], step)).preprocessing is None


def test_sigmoid_outputs_have_no_background() -> None:
    post = {"transforms": [{"_target_": "Activationsd", "sigmoid": True}]}
    channels = {"outputs": {"pred": {"channel_def": {"0": "TC", "1": "WT", "2": "ET"}}}}
    found = declared({**METADATA, "network_data_format": channels}, {**INFERENCE, "postprocessing": post})
    assert found.multilabel is True
    assert [(label.value, label.name) for label in found.labels or ()] == [(1, "TC"), (2, "WT"), (3, "ET")]
    inputs = decide_inputs(ImportSettings(Path("x"), modality="MR"), found, True, UnetrSettings(classes=3))
    assert inputs.multilabel


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'"x"', b'{"network_data_format": [1]}', b"\xff\xfe"])
def test_a_bundle_with_broken_texts_declares_nothing(content: bytes) -> None:
    found = monai_bundle.read({"configs/metadata.json": content, "configs/inference.json": content})
    assert (found.labels, found.preprocessing, found.window, found.modality) == (None, None, None, None)


def test_auto3dseg_declares_its_preprocessing_and_coded_labels(tmp_path: Path) -> None:
    path = write_auto3dseg(tmp_path / "organs.zip")
    content = torch.load(path.with_suffix(".pt"), weights_only=True)
    with zipfile.ZipFile(path) as archive:
        texts = {"labels.csv": archive.read("organs-v1.0.0/labels.csv")}
    assert auto3dseg.recognise(content)
    found = auto3dseg.read(content, texts)
    assert found.preprocessing == Preprocessing("RAS", (1.0, 1.0, 2.0), Intensity("zscore"), crop_foreground=True)
    assert (found.window, found.heads, found.modality, found.multilabel) == (WINDOW, HEADS, "MR", False)
    liver, tumour = found.labels or ()
    assert (liver.value, liver.name, liver.type and liver.type.value) == (1, "liver", "10200004")
    assert tumour.type is None
    assert not auto3dseg.recognise({"state_dict": {}})
    assert not auto3dseg.recognise({"config": [1]})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"normalize_mode": "ct"}, "'ct' has no counterpart"),
        ({"normalize_mode": "meanstdtanh"}, "no counterpart"),
        ({"orientation_ras": False}, "orientation"),
        ({"resample_resolution": "$x"}, "spacing"),
    ],
)
def test_auto3dseg_preprocessing_without_a_counterpart_is_asked_for(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    content = torch.load(write_auto3dseg(tmp_path / "o.zip", **changes).with_suffix(".pt"), weights_only=True)
    found = auto3dseg.read(content, {})
    assert found.preprocessing is None
    assert reason in found.notes[0]


def test_a_label_table_that_cannot_be_read_is_named() -> None:
    with pytest.raises(UserError, match=r"labels\.csv"):
        auto3dseg.read({"config": {"network": {}, "normalize_mode": "mri"}}, {"labels.csv": b"LabelValue,Name\nx,y\n"})


def test_what_no_file_says_is_asked_for_all_at_once() -> None:
    with pytest.raises(UserError) as refusal:
        decide_inputs(ImportSettings(Path("x")), Declared(), True, UnetrSettings())
    assert all(option in refusal.value.hint for option in ("--preprocessing", "--modality", "--labels"))
    encoder = decide_inputs(ImportSettings(Path("x"), preprocessing="btcv"), Declared(), False, UnetrSettings())
    assert (encoder.modality, encoder.labels, encoder.channels) == ("CT", (), ("CT",))


def test_options_win_over_declarations() -> None:
    settings = ImportSettings(Path("x"), preprocessing="brats", modality="CT")
    inputs = decide_inputs(settings, declared(), True, UnetrSettings(classes=3))
    assert inputs.preprocessing == PRESETS["brats"].preprocessing
    assert inputs.modality == "CT"
    assert any("5 standard deviations" in note for note in inputs.notes)


def test_the_number_of_structures_must_fit_the_network() -> None:
    with pytest.raises(UserError, match="2 structures are named, but the network tells 13 apart") as refusal:
        decide_inputs(ImportSettings(Path("x")), declared(), True, UnetrSettings(classes=14))
    assert "--multilabel" in refusal.value.hint


def test_presets_are_those_of_the_paper_and_any_other_comes_from_a_file(tmp_path: Path) -> None:
    btcv, brats = preset("btcv"), preset("brats")
    assert btcv.preprocessing == Preprocessing("RAS", (1.5, 1.5, 2.0), Intensity("window", -175, 250), True)
    assert brats.preprocessing == Preprocessing("RAS", (1.0, 1.0, 1.0), Intensity("zscore"))
    assert brats.channels == ("flair", "t1ce", "t1", "t2")
    own = replace(btcv.preprocessing, spacing=(3.0, 3.0, 3.0))
    (tmp_path / "own.json").write_text(json.dumps(own.to_json()), encoding="utf-8")
    assert read_preprocessing(tmp_path / "own.json") == own
    for wrong in ("absent.json", "own.json"):
        (tmp_path / "own.json").write_text("{", encoding="utf-8")
        with pytest.raises(UserError):
            read_preprocessing(tmp_path / wrong)
    with pytest.raises(UserError, match="'kits'"):
        preset("kits")
