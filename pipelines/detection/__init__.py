"""Text detection: page image to boxes or polygons."""
