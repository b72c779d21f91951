"""What a user sees and clicks."""
