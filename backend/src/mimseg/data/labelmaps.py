"""Reading and writing labelmaps, under the name that users' scripts import; the code is in `labels.labelmaps`."""

from mimseg.data.labels.labelmaps import read_labelmap, read_segment_names, write_labelmap

__all__ = ["read_labelmap", "read_segment_names", "write_labelmap"]
