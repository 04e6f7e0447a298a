"""What was read, written and drawn."""
