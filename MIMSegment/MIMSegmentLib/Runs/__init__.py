"""What runs: segmentations, trainings, rankings and checks, one at a time or side by side. Imports Process, Scene."""
