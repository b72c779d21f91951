"""The backend as a child process: what it is asked, what it answers, in which words, and how it is installed."""
