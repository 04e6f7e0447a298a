"""Text recognition: line image to text."""
