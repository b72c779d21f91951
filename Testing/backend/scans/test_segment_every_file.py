"""`mimseg segment` on every difficult real file: a labelmap on the file's own grid, or a clear refusal and no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_every_file import READ, REFUSED
from tiny_model import write_tiny_bundle

from mimseg.cli.main import main
from mimseg.data.intensity import Intensity
from mimseg.data.labels.labelmaps import read_labelmap
from mimseg.data.preprocessing import Preprocessing
from mimseg.data.volumes import read_volume

pytestmark = pytest.mark.shared_data


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    coarse = Preprocessing("RAS", (8.0, 8.0, 8.0), Intensity("zscore"))
    return write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny", preprocessing=coarse)


@pytest.mark.parametrize(("path", "frame"), READ, ids=str)
def test_what_can_be_read_is_segmented_onto_its_own_grid(
    shared_data: Path, tmp_path: Path, model: Path, path: str, frame: int | None
) -> None:
    output = tmp_path / "labels.nrrd"
    options = [] if frame is None else ["--frame", str(frame)]
    assert main(["segment", str(shared_data / path), "--model", str(model), "-o", str(output), *options]) == 0
    source, result = read_volume(shared_data / path, frame).grid, read_labelmap(output).grid
    assert result.size == source.size
    np.testing.assert_allclose(result.affine, source.affine, rtol=1e-9, atol=1e-9)


# A folder of images, of which `read_volume` wants one, is segmented as a whole.
@pytest.mark.parametrize("path", [path for path in REFUSED if path != "odd/itk_pd3"])
def test_anything_else_ends_with_a_remedy_and_leaves_no_file(
    shared_data: Path, tmp_path: Path, model: Path, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out" / "labels.nrrd"
    assert main(["segment", str(shared_data / path), "--model", str(model), "-o", str(output)]) == 2
    assert not list(tmp_path.rglob("*.nrrd*"))
    errors = capsys.readouterr().err
    assert "What to do" in errors
    assert "Traceback" not in errors
