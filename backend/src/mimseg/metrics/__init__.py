"""How well a segmentation agrees with a reference: overlap, surface distance, volume, and their uncertainty."""
