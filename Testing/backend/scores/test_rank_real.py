"""`mimseg rank` with the shipped model on real volumes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from mimseg.commands.rank.run import RankSettings, rank


def test_a_spoiled_volume_stands_out_among_real_ones(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "hippocampus"
    names = json.loads((source / "splits.json").read_text(encoding="utf-8"))["validation"][:9]
    images = [source / "imagesTr" / f"{name}.nii.gz" for name in names]
    image = sitk.Cast(sitk.ReadImage(str(images[0])), sitk.sitkFloat32)
    noise = np.random.default_rng(0).normal(0, 1.5 * sitk.GetArrayFromImage(image).std(), image.GetSize()[::-1])
    added = sitk.GetImageFromArray(noise.astype(np.float32))
    added.CopyInformation(image)
    sitk.WriteImage(image + added, str(tmp_path / "noisy.nii.gz"))
    settings = RankSettings((*images, tmp_path / "noisy.nii.gz"), ("hippocampus-mr",), tmp_path / "out", 3, threads=1)
    ranking = rank(settings)
    assert ranking.feature_kind == "encoder"
    assert ranking.left_out == ()
    by_uncertainty = sorted(ranking.cases, key=lambda case: -case.doubt.uncertainty)
    assert by_uncertainty[0].name == "noisy"
    assert {case.name: [code for code, _ in case.warnings] for case in ranking.cases if case.warnings} == {
        "noisy": ["out-of-domain"]
    }
    # It may not belong there, so others are proposed.
    proposed = [case.name for case in ranking.cases if case.proposed]
    assert len(proposed) == 3
    assert "noisy" not in proposed
    for case in ranking.cases:
        assert case.name == "noisy" or 1 < sum(case.volumes_ml.values()) < 6
