"""The backend as a child process."""
