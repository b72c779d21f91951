"""`mimseg segment`: scans to labelmaps. For others: `run.segment`, `run.SegmentSettings`, `volume_table`."""
