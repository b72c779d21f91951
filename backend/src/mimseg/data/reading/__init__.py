"""Image files, opened by header and read by frame.

For others: `open.open_image`, `opened.ImageFile` (what it gives).
"""
