"""Labels in another format; `run.convert` is for the command line."""
