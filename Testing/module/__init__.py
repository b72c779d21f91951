"""Tests of the module for 3D Slicer: a package, since Testing/backend has tests of the same names."""
