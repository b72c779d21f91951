"""`mimseg doctor`: what this computer can do. For others: `run`, which needs no package at all."""
