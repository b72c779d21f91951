"""Structures and their voxels.

For others: `structures` (name, value, colour, code), `labelmaps` (read and write), `regions` (structures that overlap),
`blocks` (probabilities to labels), `seg_nrrd` (segment metadata of 3D Slicer).
"""
