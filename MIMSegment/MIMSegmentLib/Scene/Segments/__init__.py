"""Segmentation nodes: `Grid` tells where their voxels lie, `Voxels` what they hold, `NodeFile` writes them."""
