"""Text detection and recognition by one network."""
