"""Options that several commands share, and what they mean where the user says nothing."""
