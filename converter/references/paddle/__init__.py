"""The child process in which Paddle runs."""
