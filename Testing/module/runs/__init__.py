"""What the panel starts, and what comes of it."""
