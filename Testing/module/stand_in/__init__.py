"""The stand-in for Slicer behaves as Slicer was recorded."""
