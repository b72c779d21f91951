"""Make the demo volume of the MNI ICBM152 2009a T1 template that the nilearn package carries.

Needs numpy only:

    pip download --no-deps nilearn==0.14.1
    unzip nilearn-*.whl 'nilearn/datasets/data/*'
    python make_demo_volume.py nilearn/datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz

Voxels are copied as they are; the header becomes the same everywhere, and says in which space they lie.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import sys
from pathlib import Path

import numpy as np

TEMPLATE_SHA256 = "421a10e872fd6cadae7f61d358dffbcc1795a497d61ee76c5dda2503e1a1e9e6"
OUTPUT = Path(__file__).with_name("MNI152_T1.nii.gz")
NIFTI_MM, SFORM_MNI, UINT8 = 2, 4, 2


def main() -> int:
    """Write the volume beside this script and print its SHA-256."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("template", type=Path)
    template = parser.parse_args().template
    if hashlib.sha256(template.read_bytes()).hexdigest() != TEMPLATE_SHA256:
        sys.exit(f"{template} is not the template of nilearn 0.14.1: its SHA-256 differs.")
    voxels, affine = read_nifti(template)
    if not np.array_equal(affine[:3, :3], np.eye(3)):
        sys.exit("The template is expected with 1 mm voxels along R, A and S.")
    write_nifti(OUTPUT, voxels, affine)
    print(f"{hashlib.sha256(OUTPUT.read_bytes()).hexdigest()}  {OUTPUT.name}  {voxels.shape}")
    return 0


def read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the voxels (i, j, k) and the sform (4, 4) of a little-endian uint8 NIfTI-1 file."""
    data = gzip.decompress(path.read_bytes())
    header = np.frombuffer(data[:348], dtype=header_type())[0]
    if header["sizeof_hdr"] != 348 or header["datatype"] != UINT8:
        sys.exit(f"{path} is not a little-endian uint8 NIfTI-1 file.")
    shape = tuple(header["dim"][1:4])
    start = int(header["vox_offset"])
    voxels = np.frombuffer(data, np.uint8, count=int(np.prod(shape)), offset=start).reshape(shape, order="F")
    return voxels, np.vstack([header["srow"], [0, 0, 0, 1]]).astype(float)


def write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Write uint8 voxels with equal qform and sform; the same bytes every time."""
    header = np.zeros((), dtype=header_type())
    header["sizeof_hdr"], header["magic"], header["vox_offset"] = 348, b"n+1", 352
    header["dim"] = [3, *voxels.shape, 1, 1, 1, 1]
    header["datatype"], header["bitpix"], header["scl_slope"], header["xyzt_units"] = UINT8, 8, 1, NIFTI_MM
    header["pixdim"] = [1, 1, 1, 1, 0, 0, 0, 0]
    header["qform_code"] = header["sform_code"] = SFORM_MNI
    header["qoffset"], header["srow"] = affine[:3, 3], affine[:3]
    header["descrip"] = b"MNI ICBM152 2009a sym T1"
    content = header.tobytes() + bytes(4) + voxels.tobytes(order="F")
    with path.open("wb") as file, gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=9, mtime=0) as out:
        out.write(content)


def header_type() -> np.dtype:
    """Describe the 348 bytes of a little-endian NIfTI-1 header; unused fields are lumped together."""
    return np.dtype(
        [
            ("sizeof_hdr", "<i4"),
            ("unused1", "V36"),
            ("dim", "<i2", 8),
            ("intent", "V14"),
            ("datatype", "<i2"),
            ("bitpix", "<i2"),
            ("slice_start", "<i2"),
            ("pixdim", "<f4", 8),
            ("vox_offset", "<f4"),
            ("scl_slope", "<f4"),
            ("scl_inter", "<f4"),
            ("slice_end_code", "V3"),
            ("xyzt_units", "u1"),
            ("display", "<f4", 2),
            ("unused2", "V16"),
            ("descrip", "S80"),
            ("aux_file", "S24"),
            ("qform_code", "<i2"),
            ("sform_code", "<i2"),
            ("quatern", "<f4", 3),
            ("qoffset", "<f4", 3),
            ("srow", "<f4", (3, 4)),
            ("intent_name", "S16"),
            ("magic", "S4"),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
