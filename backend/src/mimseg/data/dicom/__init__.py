"""Folders with one DICOM series. For others: `folder.read_dicom_folder`, `structures.open_dicom`."""
