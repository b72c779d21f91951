"""Image files, opened by header and read by frame: NRRD and MetaImage, and what readers of every format share.

For others: `opened.ImageFile` (what `mimseg.data.opening` gives).
"""
