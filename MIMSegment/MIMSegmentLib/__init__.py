"""The parts of the MIMSegment module. Nothing here imports what 3D Slicer does not ship."""
