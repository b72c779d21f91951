"""What is seen: the tabs and sections of the panel, and every sentence in it. Imports Runs and Scene."""
