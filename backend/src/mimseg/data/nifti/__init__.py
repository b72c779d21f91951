"""NIfTI-1 and NIfTI-2 in one file (`.nii`, `.nii.gz`). For others: `file.NiftiFile`, `placement.other_grids`, `encode`.

Read and written here and not by ITK, which reads damaged files, NaN and infinity as zeros, takes other offsets than the
standard, knows no NIfTI-2, drops one of two transforms and does not notice when a disk is full.
Layouts: https://nifti.nimh.nih.gov (nifti1.h, nifti2.h).
"""
