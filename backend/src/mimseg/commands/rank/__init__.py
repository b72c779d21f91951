"""`mimseg rank`: which unlabelled scans to label next. For others: `run.rank`, `run.RankSettings`."""
