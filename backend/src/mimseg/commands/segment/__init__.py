"""`mimseg segment`: scans to labelmaps. For others: `run.segment`, `settings.SegmentSettings`, `volume_table`."""
