"""Super-resolution of text line images."""
