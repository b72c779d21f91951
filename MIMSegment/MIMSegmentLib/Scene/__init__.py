"""What is in the scene, and in files made of it: volumes, segmentations, boxes, curves, training cases."""
