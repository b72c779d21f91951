"""Files that do not say how they are oriented: one rule for all formats, a warning, an option."""

from __future__ import annotations

import argparse
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import RecordingReporter
from volume_files import SIZE, ramp, write

from mimseg.cli.options.reading import add_orientation_option
from mimseg.data.cases import load_dataset
from mimseg.data.cases.images import read_images
from mimseg.data.labels.labelmaps import read_labelmap
from mimseg.data.volume import Grid
from mimseg.data.volumes import read_volume
from mimseg.errors import UserError

PLAIN = Grid(SIZE, (0.7, 1.1, 3.0))


def unsaid(folder: Path, kind: str, array: np.ndarray | None = None) -> Path:
    """A volume of spacing 0.7, 1.1, 3 mm whose header does not say how it is oriented."""
    array = ramp() if array is None else array
    path = write(folder / f"unsaid{kind.partition(' ')[0]}", array, PLAIN)
    content = path.read_bytes()
    if kind.startswith(".nii"):
        codes = struct.pack("<2h", *(int(code) for code in kind.split()[1:]))
        path.write_bytes(content[:252] + codes + content[256:])
    elif kind == ".nrrd":
        header, _, voxels = content.partition(b"\n\n")
        lines = [line for line in header.split(b"\n") if not line.startswith((b"space", b"kinds"))]
        path.write_bytes(b"\n".join([*lines, b"spacings: 0.7 1.1 3"]) + b"\n\n" + voxels)
    elif kind == ".nrrd with directions":
        path.write_bytes(content.replace(b"space: left-posterior-superior", b"space dimension: 3"))
    else:
        path.write_bytes(
            b"\n".join(line for line in content.split(b"\n", 12) if not line.startswith(b"TransformMatrix"))
        )
    assert path.read_bytes() != content
    return path


KINDS = [".nii 0 0", ".nii -1 -1", ".nii 0 -1", ".nrrd", ".nrrd with directions", ".mha"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("orientation", "signs"), [("", (-1, -1, 1)), ("RAS", (-1, -1, 1)), ("LPS", (1, 1, 1)), ("LAI", (1, -1, -1))]
)
def test_the_same_rule_holds_for_every_format(
    tmp_path: Path, kind: str, orientation: str, signs: tuple[int, int, int]
) -> None:
    reporter = RecordingReporter()
    volume = read_volume(unsaid(tmp_path, kind), None, reporter, orientation)
    assert np.array_equal(volume.array, ramp())
    assert volume.grid.spacing == pytest.approx((0.7, 1.1, 3.0))
    assert np.allclose(volume.grid.direction, np.diag(signs))
    assert reporter.codes == ["no-orientation"]
    message = reporter.warnings[0][1]
    assert f"read as {orientation or 'RAS'}" in message
    for axis in ("left and right", "front and back", "top and bottom"):
        assert axis in message


def test_axes_may_be_permuted_too(tmp_path: Path) -> None:
    volume = read_volume(unsaid(tmp_path, ".mha"), None, None, "SPL")
    assert np.allclose(volume.grid.direction, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])


def test_files_that_say_it_do_not_listen_to_the_option(tmp_path: Path) -> None:
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        reporter = RecordingReporter()
        volume = read_volume(write(tmp_path / f"v{suffix}", ramp(), PLAIN), None, reporter, "RAI")
        assert np.allclose(volume.grid.direction, np.eye(3))
        assert reporter.codes == []


def test_labels_follow_the_rule_of_their_image(tmp_path: Path) -> None:
    labels = (ramp() % 3).astype(np.uint8)
    path = unsaid(tmp_path, ".nii 0 0", labels)
    grid = read_volume(unsaid(tmp_path / "image", ".nrrd"), None, None, "LPS").grid
    assert np.array_equal(read_labelmap(path, grid, None, "LPS").array, labels)
    with pytest.raises(UserError) as caught:
        read_labelmap(path, grid, None, "RAS")
    assert caught.value.code == "grid-mismatch"


def test_a_case_list_may_say_it_for_a_case_and_the_option_for_the_others(tmp_path: Path) -> None:
    unsaid(tmp_path, ".mha")
    write(tmp_path / "l.nrrd", ramp())
    (tmp_path / "cases.csv").write_text("image,label,id,orientation\nunsaid.mha,l.nrrd,a,lps\nunsaid.mha,l.nrrd,b,\n")
    first, second = load_dataset(tmp_path / "cases.csv", orientation="RAI").cases
    assert np.allclose(read_images(first).grid.direction, np.eye(3))
    assert np.allclose(read_images(second).grid.direction, np.diag([-1, -1, -1]))


@pytest.mark.parametrize("text", ["RA", "RRS", "XYZ", "RASL", "R,A,S"])
def test_the_option_takes_orientation_codes_only(text: str, capsys: pytest.CaptureFixture) -> None:
    parser = argparse.ArgumentParser()
    add_orientation_option(parser)
    assert parser.parse_args(["--orientation", "lps"]).orientation == "LPS"
    with pytest.raises(SystemExit):
        parser.parse_args(["--orientation", text])
    assert text in capsys.readouterr().err


def test_itk_reads_these_files_otherwise(tmp_path: Path) -> None:
    """What the warning says about 3D Slicer."""
    image = sitk.ReadImage(str(unsaid(tmp_path, ".mha")))
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
