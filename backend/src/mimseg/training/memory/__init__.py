"""What a training costs (`cost`) and what it does when memory runs out (`ladder`)."""
