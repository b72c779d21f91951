"""What the program 3D Slicer adds to `slicer-core`: application, modules, files, parameter nodes, DICOM."""
