"""What is in Slicer's scene."""
