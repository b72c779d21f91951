"""The extension as Slicer builds and lists it."""
