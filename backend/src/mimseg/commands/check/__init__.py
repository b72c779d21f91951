"""`mimseg check`: look for faults in a labelled data set. For others: `run.check`, `run.CheckSettings`."""
