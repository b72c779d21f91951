"""The weights that a training starts from, and how they reach the network."""
