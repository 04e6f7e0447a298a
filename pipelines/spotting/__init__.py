"""Finding and reading by one network."""
