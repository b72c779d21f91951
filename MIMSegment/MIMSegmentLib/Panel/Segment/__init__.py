"""The tab Segment with its sections, and which model fits a scan."""
