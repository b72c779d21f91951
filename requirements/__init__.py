"""The locked packages, and the environments that `run.py` makes of them. Standard library only."""
