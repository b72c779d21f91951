"""Volumes, their geometry and preprocessing, labels, cases. numpy and SimpleITK only."""
