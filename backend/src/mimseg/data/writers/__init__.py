"""Export formats of labels, one file each, found by the name in the table of `mimseg.formats`.

Each has a function `write(path, drawn)`, which writes to the existing, empty, temporary file `path` what
`labels.drawn.Drawn` holds. `drawn.grid.source` tells what the scan's own file said: both transforms of a NIfTI file,
the files of a DICOM series. It raises OSError or RuntimeError where it cannot write. Whoever calls it verifies and
renames the file (`labels.labelmaps.write_labelmap`).
"""
