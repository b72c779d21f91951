"""The parts of the MIMSegment module. Nothing here imports what 3D Slicer does not ship.

Four wings, each of which imports only those after it: Panel (what is seen), Runs (what runs), Process (the backend as
a child process), Scene (what is in the scene). Here lie what all of them share (Problem, Signal, Parameters) and Logic,
which the panel is given.
"""
