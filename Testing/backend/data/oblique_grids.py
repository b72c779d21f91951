"""Grids in all 48 axis orientations, turned by angles besides."""

import itertools

import numpy as np

from mimseg.data.volume import Grid

TURNS = [
    np.eye(3)[:, list(order)] * signs
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1.0, -1.0), repeat=3)
]
OBLIQUE = [(0.0, 0.0, 0.0), (0.1, -0.05, 0.2), (0.3, 0.25, -0.35), (-0.6, 0.4, 0.5)]


def rotation(angles):
    a, b, c = angles
    turn_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    turn_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return turn_x @ turn_y @ turn_z


def grid_of(size, spacing=(1.0, 1.0, 1.0), turn=0, angles=(0.0, 0.0, 0.0), origin=(11.0, -7.5, 3.25)):
    return Grid(tuple(size), tuple(spacing), origin, rotation(angles) @ TURNS[turn])
