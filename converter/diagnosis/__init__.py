"""The first layer that differs, and its cause, found by experiment."""
