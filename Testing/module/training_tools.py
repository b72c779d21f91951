"""Volumes that a tiny network learns in seconds, and what makes it tiny."""

import numpy as np
from logic_tools import add_volume, box, oblique

SHAPE = (24, 24, 24)
TINY = ("--hidden-size", "48", "--mlp-size", "48", "--layers", "3", "--heads", "2", "--feature-size", "4")
FINETUNE = (*TINY, "--window", "24", "--batch", "2", "--seed", "1", "--precision", "32-true")
PRETRAIN = (*TINY, "--window", "24", "--batch", "2", "--decoder-size", "24", "--decoder-heads", "2")


def add_scans(scene, count):
    """Volumes with one bright box, and the box."""
    made = []
    for number in range(count):
        generator = np.random.default_rng(number)
        mask = box(SHAPE, *((start, start + 10) for start in generator.integers(4, 9, 3)))
        values = (generator.normal(50, 8, SHAPE) + mask * 100).astype(np.float32)
        made.append((add_volume(scene, f"Scan {number}", values, oblique((1.0, 1.0, 1.2))), mask))
    return made
