"""One file for each thing that mimseg does; only these know which parts work together."""
