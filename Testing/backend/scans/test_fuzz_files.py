"""Whatever a disk, a network or a foreign program does to a file: it is refused, or read right, or doubted aloud.

Budget: about 20 seconds. Voxels that are neither compressed nor counted have no checksum in any of these formats, so
flipped bits are tried where one is, in headers, and where they change lengths.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import RecordingReporter
from dicom_files import straight, write_series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from volume_files import SIZE, write

from mimseg.data.images import array_of
from mimseg.data.labels.labelmaps import read_labelmap, write_labelmap
from mimseg.data.volume import Grid
from mimseg.data.volumes import read_volume
from mimseg.errors import UserError

GRID = Grid(SIZE, (0.7, 1.1, 3.0), (-11.5, 20.25, 30.0), np.linalg.qr(np.arange(9.0).reshape(3, 3) ** 2)[0])
IMAGE = np.random.default_rng(0).integers(-1000, 1000, SIZE).astype(np.int16)
LABELS = np.random.default_rng(1).integers(0, 3, SIZE).astype(np.uint8)
FUZZ = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Whole files by kind: an ending, and whether they are compressed."""
    folder = tmp_path_factory.mktemp("originals")
    files = {}
    for ending in (".nii", ".nii.gz", ".nrrd", ".mha"):
        for compress in (False, True):
            if (ending == ".nii" and compress) or (ending == ".nii.gz" and not compress):
                continue
            path = write(folder / f"v{ending}", IMAGE, GRID, compress)
            files[f"{ending}{' compressed' if compress else ''}"] = path.read_bytes()
    for ending in (".nii.gz", ".mha", ".seg.nrrd"):
        write_labelmap(folder / f"l{ending}", LABELS, GRID)
        files[f"{ending} labels"] = (folder / f"l{ending}").read_bytes()
    return files


def read(folder: Path, kind: str, content: bytes) -> tuple[np.ndarray, list[str]] | None:
    """Voxels and codes of warnings, or None if the file was refused as it should be: by name, with a remedy."""
    path = folder / f"fuzzed{kind.split()[0]}"
    path.write_bytes(content)
    reporter = RecordingReporter()
    fault = None
    try:
        if kind.endswith("labels"):
            return read_labelmap(path, None, reporter).array, reporter.codes
        return read_volume(path, None, reporter).array, reporter.codes
    except UserError as refused:
        fault = refused
    assert path.name in fault.message
    assert fault.hint
    return None


def header_end(kind: str, content: bytes) -> int:
    if ".nrrd" in kind:
        return content.index(b"\n\n") + 2
    return content.index(b"LOCAL\n") + 6 if ".mha" in kind else 352 if kind == ".nii" else 10


def true_voxels(kind: str) -> np.ndarray:
    return LABELS if kind.endswith("labels") else IMAGE


COMPRESSED = [
    ".nii.gz compressed", ".nrrd compressed", ".mha compressed", ".nii.gz labels", ".mha labels", ".seg.nrrd labels",
]  # fmt: skip
EVERY = [".nii", ".nrrd", ".mha", *COMPRESSED]


@pytest.mark.parametrize("kind", COMPRESSED)
@FUZZ
@given(data=st.data())
def test_flipped_bits_in_compressed_data(
    tmp_path: Path, originals: dict[str, bytes], kind: str, data: st.DataObject
) -> None:
    content = bytearray(originals[kind])
    begin = header_end(kind, originals[kind])
    for position in data.draw(st.lists(st.integers(begin, len(content) - 1), min_size=1, max_size=3)):
        content[position] ^= 1 << data.draw(st.integers(0, 7))
    found = read(tmp_path, kind, bytes(content))
    assert found is None or np.array_equal(found[0], true_voxels(kind))


@pytest.mark.parametrize("kind", EVERY)
@FUZZ
@given(data=st.data())
def test_truncations(tmp_path: Path, originals: dict[str, bytes], kind: str, data: st.DataObject) -> None:
    content = originals[kind]
    assert read(tmp_path, kind, content[: data.draw(st.integers(0, len(content) - 1))]) is None


FIELDS = {
    "sizeof_hdr": (0, "i"), "dim0": (40, "h"), "dim1": (42, "h"), "dim3": (46, "h"), "dim4": (48, "h"),
    "intent": (68, "h"), "datatype": (70, "h"), "bitpix": (72, "h"), "qfac": (76, "f"), "pixdim1": (80, "f"),
    "vox_offset": (108, "f"), "slope": (112, "f"), "inter": (116, "f"), "units": (123, "B"), "qcode": (252, "h"),
    "scode": (254, "h"), "quatern_b": (256, "f"), "qoffset_x": (268, "f"), "srow_x0": (280, "f"),
    "srow_x1": (284, "f"), "magic": (344, "i"),
}  # fmt: skip
NUMBERS = {
    "f": st.one_of(st.floats(width=32), st.sampled_from([0.0, 1.0, -1.0, 348.0, 352.0, 1e9])),
    "h": st.one_of(st.integers(-32768, 32767), st.integers(-2, 20)),
    "i": st.integers(-(2**31), 2**31 - 1),
    "B": st.integers(0, 255),
}


@pytest.mark.parametrize("compressed", [False, True])
@settings(FUZZ, max_examples=100)
@given(data=st.data())
def test_fields_of_nifti_headers(
    tmp_path: Path, originals: dict[str, bytes], compressed: bool, data: st.DataObject
) -> None:
    """What is read without a warning is what nibabel reads, voxels and place."""
    nibabel = pytest.importorskip("nibabel")
    content = bytearray(originals[".nii"])
    for name in data.draw(st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=2)):
        offset, kind = FIELDS[name]
        struct.pack_into(f"<{kind}", content, offset, data.draw(NUMBERS[kind]))
    kind = ".nii.gz" if compressed else ".nii"
    found = read(tmp_path, kind, gzip.compress(bytes(content)) if compressed else bytes(content))
    if found is None or found[1]:
        return
    image = nibabel.load(tmp_path / f"fuzzed{kind}")
    if struct.unpack_from("<f", content, 108)[0] == 0:  # nibabel takes the header itself for voxels
        assert found[0].size == IMAGE.size
        return
    with np.errstate(all="ignore"):
        expected = np.asarray(image.dataobj).reshape(found[0].shape).astype(np.float32)
    assert np.allclose(found[0], expected, rtol=1e-5, atol=1e-3)
    if not all(0 <= code <= 5 for code in struct.unpack_from("<2h", content, 252)):
        return  # nibabel ignores a transform of an unknown code
    affine = np.diag([-1, -1, 1, 1]) @ read_volume(tmp_path / f"fuzzed{kind}").grid.affine
    corners = np.array([[i, j, k, 1] for i in (0, 6) for j in (0, 5) for k in (0, 4)])
    unit = {1: 1e3, 3: 1e-3}.get(content[123] & 7, 1.0)
    spread = np.linalg.norm(affine[:3, :3], axis=0).min()
    assert np.abs(corners @ (affine - np.diag([unit] * 3 + [1]) @ image.affine).T).max() <= 0.11 * spread


@pytest.mark.parametrize("kind", [".nrrd", ".nrrd compressed", ".mha", ".mha compressed", ".seg.nrrd labels"])
@FUZZ
@given(data=st.data())
def test_headers_in_text(tmp_path: Path, originals: dict[str, bytes], kind: str, data: st.DataObject) -> None:
    """What is read without a warning is what was written, or what ITK makes of the header."""
    content = bytearray(originals[kind])
    position = data.draw(st.integers(0, header_end(kind, originals[kind]) - 2))
    if data.draw(st.booleans()):
        content[position] ^= 1 << data.draw(st.integers(0, 7))
    else:
        end = position + data.draw(st.integers(0, 9))
        content[position:end] = data.draw(st.sampled_from([b"", b"0", b"-1", b"999", b" "]))
    found = read(tmp_path, kind, bytes(content))
    if found is None or found[1] or np.array_equal(found[0], true_voxels(kind)):
        return
    if kind.endswith("labels"):  # by other values of segments: the same voxels in other numbers
        assert np.array_equal(found[0] > 0, LABELS > 0)
        return
    image = sitk.ReadImage(str(tmp_path / f"fuzzed{kind.split()[0]}"))
    assert np.array_equal(found[0], array_of(image))


@settings(FUZZ, max_examples=30)
@given(data=st.data())
def test_dicom_slices(tmp_path: Path, dicom: dict[str, bytes], data: st.DataObject) -> None:
    """One slice of five is cut off, or has a byte changed before its pixels."""
    name = data.draw(st.sampled_from(sorted(dicom)))
    content = bytearray(dicom[name])
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
        changed = False
    else:
        content[data.draw(st.integers(128, len(content) - IMAGE[:, :, 0].nbytes - 1))] = data.draw(st.integers(0, 255))
        changed = True
    folder = tmp_path / "series"
    folder.mkdir(exist_ok=True)
    for other, whole in dicom.items():
        (folder / other).write_bytes(bytes(content) if other == name else whole)
    reporter = RecordingReporter()
    try:
        array = read_volume(folder, reporter=reporter).array
    except UserError as fault:
        reporter.warning("refused", fault.hint)
        array = IMAGE
    assert all(text for _, text in reporter.warnings)
    # A slice at an end may be gone, which is told; a changed number in a header may move or scale the one slice.
    assert changed or reporter.codes
    assert array.shape[:2] == SIZE[:2] or reporter.codes


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("dicom")
    write_series(folder, IMAGE, straight(5))
    return {path.name: path.read_bytes() for path in folder.iterdir()}
