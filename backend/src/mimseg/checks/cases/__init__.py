"""A case as the checks see it, and what its files and reading them show."""
